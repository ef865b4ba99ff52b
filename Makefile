# pgseal. `make help` lists the targets.
# BUILD=build SAN=            an ordinary build
# BUILD=build-asan SAN=address,undefined     with sanitizers (SAN=thread for TSan)

BUILD ?= build
SAN ?=
CC ?= gcc
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.1)

PACKAGES := libuv nng protobuf-c libmicrohttpd gnutls jansson libcyaml libyaml libcurl expat openssl libzstd libpq sqlite3 icu cjose
PKG_PACKAGES := libuv libprotobuf-c libmicrohttpd gnutls jansson libcyaml yaml-0.1 libcurl expat libssl libcrypto libzstd libpq sqlite3 icu-i18n icu-uc cjose

CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
ALL_CFLAGS := -std=gnu17 $(WARNINGS) -D_GNU_SOURCE -fno-omit-frame-pointer -fstack-protector-strong -pthread \
  $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=undefined) -DPGSEAL_VERSION='"$(VERSION)"' \
  -I. -I$(BUILD)/gen -isystem /usr/include/postgresql $(CFLAGS)
V ?=
Q := $(if $(V),,@)
say = $(if $(V),:,echo '  $(1)	$(patsubst $(BUILD)/%,%,$@)')
# lazily: the packages may only just have been installed by `make deps`
PKG_LIBS = -Wl,--as-needed $(shell pkg-config --libs $(PKG_PACKAGES) $(PKG_PACKAGES_MORE)) -lnng
LINK = $(CC) $(ALL_CFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(PKG_LIBS) -lm

sources = $(sort $(filter-out %/main.c,$(shell find $(1) -name '*.c')))
objects = $(patsubst %.c,$(BUILD)/%.o,$(call sources,$(1)))

PROTO_OBJ := $(BUILD)/gen/proto/pgseal.pb-c.o
WEB_OBJ := $(BUILD)/gen/web/assets.o
LIB_COMMON := $(BUILD)/libcommon.a
LIB_COORDINATOR := $(BUILD)/libcoordinator.a
LIB_AGENT := $(BUILD)/libagent.a
LIB_CLI := $(BUILD)/libcli.a
LIBS := $(LIB_COORDINATOR) $(LIB_AGENT) $(LIB_CLI) $(LIB_COMMON)
BINARIES := $(BUILD)/bin/pgseal $(BUILD)/bin/pgseal-pdf $(BUILD)/bin/pgseal-coordinator $(BUILD)/bin/pgseal-agent
UNIT_SOURCES := $(sort $(shell find tests/unit -name 'test_*.c' 2>/dev/null))
UNIT_TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(UNIT_SOURCES))

.PHONY: all help
all: $(BINARIES)

help:
	@sed -n 's/^\([a-z-]*\):.*## /  \1	/p' $(MAKEFILE_LIST)

$(BUILD)/gen/proto/pgseal.pb-c.c: proto/pgseal.proto
	@mkdir -p $(@D)
	$(Q)protoc-c --c_out=$(BUILD)/gen $<
$(BUILD)/gen/proto/pgseal.pb-c.h: $(BUILD)/gen/proto/pgseal.pb-c.c ; # made with it: what includes it is compiled anew
$(PROTO_OBJ): $(BUILD)/gen/proto/pgseal.pb-c.c
	$(Q)$(CC) $(ALL_CFLAGS) -w -c -o $@ $<

# The dashboard: files, as they are, in the coordinator.
$(BUILD)/gen/web/assets.c: make/embed coordinator/web/assets $(wildcard coordinator/web/assets/*)
	$(Q)make/embed coordinator/web/assets $@
$(WEB_OBJ): $(BUILD)/gen/web/assets.c coordinator/web/web.h
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/%.o: %.c | $(BUILD)/gen/proto/pgseal.pb-c.c
	@mkdir -p $(@D)
	@$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(LIB_COMMON): $(call objects,common) $(PROTO_OBJ)
$(LIB_COORDINATOR): $(call objects,coordinator) $(WEB_OBJ)
$(LIB_AGENT): $(call objects,agent)
$(LIB_CLI): $(call objects,cli)
$(LIBS):
	@mkdir -p $(@D)
	@$(call say,AR)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/bin/pgseal: $(BUILD)/cli/main.o $(LIB_CLI) $(LIB_COMMON)
	@mkdir -p $(@D)
	@$(call say,LD)
	$(Q)$(LINK)
# alone needs Pango and Cairo
$(BUILD)/cli/report/pdf.o: ALL_CFLAGS += $(subst -I/,-isystem /,$(shell pkg-config --cflags-only-I pangocairo))
$(BUILD)/bin/pgseal-pdf $(BUILD)/tests/unit/cli/report/test_pdf: PKG_PACKAGES_MORE := pangocairo cairo-pdf
$(BUILD)/bin/pgseal-pdf: $(BUILD)/cli/pdf/main.o $(LIB_CLI) $(LIB_COMMON)
	@mkdir -p $(@D)
	@$(call say,LD)
	$(Q)$(LINK)
$(BUILD)/bin/pgseal-coordinator: $(BUILD)/coordinator/main.o $(LIB_COORDINATOR) $(LIB_COMMON)
	@mkdir -p $(@D)
	@$(call say,LD)
	$(Q)$(LINK)
$(BUILD)/bin/pgseal-agent: $(BUILD)/agent/main.o $(LIB_AGENT) $(LIB_COMMON)
	@mkdir -p $(@D)
	@$(call say,LD)
	$(Q)$(LINK)

$(BUILD)/tests/unit/common/%: $(BUILD)/tests/unit/common/%.o $(LIB_COMMON)
	@$(call say,LD)
	$(Q)$(LINK) -lcmocka
$(BUILD)/tests/unit/coordinator/%: $(BUILD)/tests/unit/coordinator/%.o $(LIB_COORDINATOR) $(LIB_COMMON)
	@$(call say,LD)
	$(Q)$(LINK) -lcmocka
$(BUILD)/tests/unit/agent/%: $(BUILD)/tests/unit/agent/%.o $(LIB_AGENT) $(LIB_COMMON)
	@$(call say,LD)
	$(Q)$(LINK) -lcmocka
$(BUILD)/tests/unit/cli/%: $(BUILD)/tests/unit/cli/%.o $(LIB_CLI) $(LIB_COMMON)
	@$(call say,LD)
	$(Q)$(LINK) -lcmocka

# The fleet's simulator: many agents in one process.
$(BUILD)/bench/agents: $(BUILD)/tests/bench/fleet/agents.o $(LIB_COMMON)
	@mkdir -p $(@D)
	@$(call say,LD)
	$(Q)$(LINK)

include make/tasks.mk
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
