# Makes the root file systems and puts the images together; called by the Makefile's build_image.

include $(TOPDIR)/include/paths.mk

empty:=
space:=$(empty) $(empty)
# The genuine rule: lower case, "_" and blank become "-", anything else stays.
tolower=$(shell echo "$(1)" | tr A-Z a-z)
sanitize=$(call tolower,$(subst _,-,$(subst $(space),-,$(1))))
IMG_PREFIX:=$(VERSION_PREFIX)$(if $(EXTRA_IMAGE_NAME),$(call sanitize,$(EXTRA_IMAGE_NAME))-)$(BOARD)-$(SUBTARGET)
# The kernel of each device lies in the builder.
KERNELS:=$(foreach p,$(patsubst DEVICE_%,%,$(PROFILE)),$(LINUX_DIR)/$(p)-kernel.bin)
ROOT_IMAGES:=$(foreach fs,$(filter-out targz,$(BUILT_FILESYSTEMS)) $(if $(CONFIG_TARGET_ROOTFS_TARGZ),targz),$(LINUX_DIR)/root.$(fs))
IMAGES:=$(PYTHON) scripts.standin_images

.SILENT:
FORCE: ;
.PHONY: FORCE

install: $(KERNELS) $(ROOT_IMAGES)
	mkdir -p $(BIN_DIR)
	for profile in $(patsubst DEVICE_%,%,$(PROFILE)); do \
		$(if $(CONFIG_USE_APK),$(APK) manifest,$(OPKG) --quiet list-installed) >$(BIN_DIR)/$(IMG_PREFIX)-$$profile.manifest; \
	done
	$(IMAGES) --config $(TOPDIR)/include/devices.json --profiles "$(patsubst DEVICE_%,%,$(PROFILE))" \
		--filesystems "$(BUILT_FILESYSTEMS)" --prefix $(IMG_PREFIX) --linux-dir $(LINUX_DIR) --json-dir $(JSON_DIR) \
		--bin-dir $(BIN_DIR) --partsize "$$(($(CONFIG_TARGET_ROOTFS_PARTSIZE)))" $(if $(CONFIG_USE_APK),,--sign-with $(BUILD_KEY))

# A reproducible image needs one time for all files; the pseudo file gives the device its console before procd starts.
$(LINUX_DIR)/root.squashfs: FORCE
	env -u SOURCE_DATE_EPOCH mksquashfs $(TARGET_DIR) $@ -noappend -all-root -no-xattrs -b 256k -comp gzip -Xcompression-level 1 \
		-p '/dev d 755 0 0' -p '/dev/console c 600 0 0 5 1' -all-time $(SOURCE_DATE_EPOCH) -mkfs-time $(SOURCE_DATE_EPOCH)

$(LINUX_DIR)/root.targz: FORCE
	tar -C $(TARGET_DIR) --sort=name --mtime=@$(SOURCE_DATE_EPOCH) --owner=0 --group=0 --numeric-owner -c . | gzip -1n >$@

##@ 398 398
$(LINUX_DIR)/root.ext4: FORCE
	$(PYTHON) scripts.standin_ext4 $(TARGET_DIR) $@ "$$(($(CONFIG_TARGET_ROOTFS_PARTSIZE)*1024*1024))"
