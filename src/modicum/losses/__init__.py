"""Pure loss functions: tensors in, a scalar out; one file per regulariser."""
