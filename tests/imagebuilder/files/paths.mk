# What the Makefile and image.mk both know: where things are, what this builder is, which file systems it makes.

include $(TOPDIR)/include/version.mk
include $(TOPDIR)/.config
-include $(TOPDIR)/.profiles.mk
export SOURCE_DATE_EPOCH

SCRIPT_DIR:=$(TOPDIR)/scripts
PACKAGE_DIR:=$(TOPDIR)/packages
DL_DIR:=$(TOPDIR)/dl
BIN_DIR:=$(TOPDIR)/bin/targets/$(BOARD)/$(SUBTARGET)
BUILD_DIR:=$(TOPDIR)/build_dir/target-$(ARCH_PACKAGES)_musl
TARGET_DIR:=$(BUILD_DIR)/root-$(BOARD)
TARGET_DIR_ORIG:=$(BUILD_DIR)/root.orig-$(BOARD)
LINUX_DIR:=$(BUILD_DIR)/linux-$(BOARD)_$(SUBTARGET)
JSON_DIR:=$(BUILD_DIR)/json_info_files
BUILD_KEY:=$(TOPDIR)/key-build
# Neither the site module nor PYTHON* variables are needed; leaving them out halves the start of each small program.
PYTHON:=python3 -S -E -m
OPKG:=$(PYTHON) scripts.standin_opkg --root $(TARGET_DIR) --arch $(ARCH_PACKAGES)
APK:=$(PYTHON) scripts.standin_apk --root $(TARGET_DIR) --arch $(ARCH_PACKAGES)

FILESYSTEMS:=$(if $(CONFIG_TARGET_ROOTFS_SQUASHFS),squashfs) $(if $(CONFIG_TARGET_ROOTFS_EXT4FS),ext4) $(if $(CONFIG_TARGET_ROOTFS_TARGZ),$(TARGZ_FILESYSTEM))
FILESYSTEMS:=$(strip $(FILESYSTEMS))
BUILT_FILESYSTEMS:=$(if $(and $(HONOURS_ROOTFS_FILESYSTEM),$(ROOTFS_FILESYSTEM)),$(filter $(ROOTFS_FILESYSTEM),$(FILESYSTEMS)),$(FILESYSTEMS))
