"""Every recipe by its name."""

from __future__ import annotations

RECIPES = {
    name: f"modicum.recipes.{name}:RECIPE"
    for name in (
        "digits_protonet", "omniglot_protonet", "omniglot_maml", "cifar_fs_protonet", "cifar_fs_r2d2",
        "encoder_characters", "encoder_pictures",
        "table_5_1", "table_5_2", "table_5_3", "table_5_4", "table_5_5", "table_5_6", "table_5_7", "table_5_8", "table_5_10",
        "table_6_1", "table_6_5", "table_6_8",
        "alfa_table_1", "alfa_table_2", "alfa_table_3", "alfa_table_4", "alfa_table_5", "alfa_table_6", "alfa_table_7",
        "alfa_table_8", "alfa_table_a", "alfa_table_b", "alfa_table_c", "alfa_table_d", "alfa_table_e",
        "rac_table_1", "rac_table_2", "rac_table_3", "rac_clothing", "rac_table_4", "rac_table_5", "rac_table_s1",
        "rac_table_s2", "rac_figure_2", "rac_figure_3", "rac_figure_4", "rac_figure_5", "rac_figure_s1", "rac_figure_s3",
        "rac_edit", "mn_table_1", "mn_table_2", "mn_table_3", "mn_figure_7", "mn_figure_8", "mn_figure_9", "mn_figure_10",
        "mn_ablations", "mn_subcategories", "mn_small",
        "table_2_1", "table_2_2", "table_2_3", "table_2_4", "table_2_5", "table_2_6", "table_2_7", "table_2_8", "table_2_9",
        "table_2_10", "table_2_11", "table_2_12", "table_2_13", "table_2_14", "wrapnet_omniglot",
    )
}  # fmt: skip
