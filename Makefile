# Builds the programs and installs them with their systemd units.
#
#     make && sudo make install
#
# A package is built with DESTDIR, the root under which the files are put, and PREFIX=/usr. Nothing is enabled or
# started, and nothing outside of DESTDIR is touched: systemd-sysusers, systemd-tmpfiles --create and systemctl
# daemon-reload are for whoever installs on the machine itself.

PREFIX ?= /usr/local
DESTDIR ?=
SYSCONFDIR ?= /etc
BINDIR ?= $(PREFIX)/bin
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
DOCDIR ?= $(PREFIX)/share/doc/redoubt

CARGO ?= cargo
INSTALL ?= install
# Where the programs are that get installed.
BUILD ?= $(or $(CARGO_TARGET_DIR),target)/release

PROGRAMS := redoubt-node redoubt-sentinel redoubt-vip-hook
UNITS := redoubt-node@.service redoubt-sentinel.service redoubt-vip-agent.service redoubt-vip-agent.socket
# Never overwritten: they are the operator's.
CONFIGURATION := node-6379.conf sentinel.conf
EXAMPLES := $(CONFIGURATION:%=configs/systemd/%) configs/systemd/keep-vip.network.conf configs/vip/vip-hook.yaml

# $(call put,mode,file,place): a file, with the paths of this installation in the place of /usr and /etc.
put = sed -e 's|/usr/bin/|$(BINDIR)/|g' -e 's|/usr/share/doc/redoubt/|$(DOCDIR)/|g' \
    -e 's|/etc/redoubt|$(SYSCONFDIR)/redoubt|g' "$(2)" >"$(DESTDIR)$(3)" && chmod $(1) "$(DESTDIR)$(3)"

.PHONY: all
all:
	$(CARGO) build --release --locked $(PROGRAMS:%=--bin %)

.PHONY: install
install:
	@for program in $(PROGRAMS:%="$(BUILD)/%"); do test -x "$$program" || \
	    { echo "make install: there is no $$program: run 'make' first, or say BUILD=folder" >&2; exit 1; }; done
	$(INSTALL) -d "$(DESTDIR)$(BINDIR)" "$(DESTDIR)$(UNITDIR)" "$(DESTDIR)$(SYSUSERSDIR)" \
	    "$(DESTDIR)$(TMPFILESDIR)" "$(DESTDIR)$(DOCDIR)/examples"
	$(INSTALL) -m 755 $(PROGRAMS:%="$(BUILD)/%") "$(DESTDIR)$(BINDIR)"
	for unit in $(UNITS); do $(call put,644,configs/systemd/$$unit,$(UNITDIR)/$$unit) || exit 1; done
	$(call put,644,configs/systemd/sysusers.conf,$(SYSUSERSDIR)/redoubt.conf)
	$(call put,644,configs/systemd/tmpfiles.conf,$(TMPFILESDIR)/redoubt.conf)
	$(INSTALL) -m 644 LICENSE README.md "$(DESTDIR)$(DOCDIR)"
	$(call put,644,configs/systemd/README.md,$(DOCDIR)/systemd.md)
	for file in $(EXAMPLES); do $(call put,644,$$file,$(DOCDIR)/examples/$${file##*/}) || exit 1; done
	@# If it is there its owner and mode are right, and not these.
	test -d "$(DESTDIR)$(SYSCONFDIR)/redoubt" || $(INSTALL) -d "$(DESTDIR)$(SYSCONFDIR)/redoubt"
	@for file in $(CONFIGURATION); do \
	    if [ -e "$(DESTDIR)$(SYSCONFDIR)/redoubt/$$file" ] || [ -L "$(DESTDIR)$(SYSCONFDIR)/redoubt/$$file" ]; \
	    then echo "$(DESTDIR)$(SYSCONFDIR)/redoubt/$$file is kept as it is"; \
	    else $(call put,640,configs/systemd/$$file,$(SYSCONFDIR)/redoubt/$$file) || exit 1; fi; \
	done

# Configuration and data stay.
.PHONY: uninstall
uninstall:
	rm -f $(PROGRAMS:%="$(DESTDIR)$(BINDIR)/%") $(UNITS:%="$(DESTDIR)$(UNITDIR)/%")
	rm -f "$(DESTDIR)$(SYSUSERSDIR)/redoubt.conf" "$(DESTDIR)$(TMPFILESDIR)/redoubt.conf"
	rm -rf "$(DESTDIR)$(DOCDIR)"
