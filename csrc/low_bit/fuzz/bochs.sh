#!/bin/sh
# Runs static programs on an emulated processor with AVX-512 VBMI (Bochs, model Cannon Lake), under a Linux kernel.
#
#     bochs.sh FOLDER KERNEL_IMAGE PROGRAM... < COMMANDS
#
# COMMANDS: one a line, programs by the names of their files, as fuzz 1 2000 avx512vbmi. What they print is in
# FOLDER/serial. Debian: bochs isolinux syslinux-common xorriso cpio; an image from `apt-get download` of a linux-image
# and `dpkg-deb -x`.
# The kernel must not use what this model counts wrongly among the registers it saves, hence clearcpuid.
set -eu
folder=$1 image=$2
shift 2
mkdir -p "$folder/root" "$folder/cd"
${CC:-gcc} -O1 -static "$(dirname "$0")/init.c" -o "$folder/root/init"
sed 's/^\([^/]\)/\/\1/' > "$folder/root/runs"
cp "$@" "$folder/root"
(cd "$folder/root" && find . | cpio -o -H newc --quiet) > "$folder/cd/initrd"
cp "$image" "$folder/cd/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$folder/cd"
cat > "$folder/cd/isolinux.cfg" << 'END'
DEFAULT linux
LABEL linux
 KERNEL vmlinuz
 APPEND initrd=initrd console=ttyS0 loglevel=3 panic=-1 mitigations=off nokaslr clearcpuid=pku,ospke,xsaves,xsavec
END
xorriso -as mkisofs -quiet -o "$folder/cd.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 \
    -boot-info-table "$folder/cd"
cat > "$folder/bochsrc" << END
display_library: rfb, options="timeout=0"
megs: 512
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=corei3_cnl, ips=200000000, reset_on_triple_fault=0
ata0-master: type=cdrom, path=$folder/cd.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$folder/serial
sound: driver=dummy
log: $folder/log
panic: action=fatal
END
rm -f "$folder/serial" # of an earlier run
echo c > "$folder/continue" # Debian's Bochs has a debugger, which waits for this
bochs -q -f "$folder/bochsrc" -rc "$folder/continue" < /dev/null > "$folder/out" 2>&1 || true # it ends by a shutdown
sed -n '/^processor:/,$p' "$folder/serial"
