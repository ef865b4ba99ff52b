# What is not compiling: dependencies, demo, tests, checks, installation.

.PHONY: deps deps-check demo test unit e2e docs faults web sanitized test-long lint format fuzz mutants model bench bench-fleet profile install uninstall clean

deps: ## install the Debian packages that building, running and testing need (sudo when not root)
	@make/deps build run test s3

deps-check: ## also what lint and fuzz need
	@make/deps build run test s3 check

demo: ## the whole story on this machine: source database, checkpoint, drill, sealed; removes itself. S3=1: in a bucket
	@make/deps build run $(if $(S3),s3)
	@$(MAKE) --no-print-directory -s -j2 all
	@$(if $(S3),PGSEAL_DEMO_S3=1) deploy/demo/run $(BUILD)/bin

# Unit tests run with the sanitizers only: the same tests, and more is seen. (`make unit` runs them without.)
test: ## everything: unit tests under ASan+UBSan, thread-crossing ones under TSan, end-to-end tests, faults
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory -j2 all
	@$(MAKE) --no-print-directory sanitized
	@$(RUN_TESTS) $(E2E) $(FAULTS)

.PHONY: unit-binaries
unit-binaries: $(UNIT_TESTS)

unit: unit-binaries ## unit tests only
	@$(STEADY) tests/unit/run $(UNIT_TESTS)

E2E ?= tests/e2e tests/docs
# They wait more than they work (for leases, backoffs, budgets): four run beside each other (support/fixtures.py says which).
RUN_TESTS = $(STEADY) tests/e2e/run $(abspath $(BUILD)/bin) -n 4 --dist loadgroup
# gcc 12's sanitizers want places in memory that kernels with much randomness give away: none of it, where that can be had.
STEADY = $(if $(SAN),$(shell setarch -R true 2>/dev/null && echo setarch -R))
e2e: $(BINARIES) ## end-to-end tests only; E2E=tests/e2e/test_x.py for one
	@$(RUN_TESTS) $(E2E)

docs: $(BINARIES) ## the documentation, page by page, command by command (tests/docs/README.md)
	@make/deps run test
	@PGSEAL_LONG=1 $(RUN_TESTS) tests/docs

FAULTS ?= tests/faults
faults: $(BINARIES) ## real parts damaged, killed, cut, filled, delayed; FAULTS=tests/faults/test_x.py for some
	@$(RUN_TESTS) $(FAULTS)

web: ## the dashboard in a headless Chromium; PGSEAL_SHOTS=DIRECTORY keeps pictures of it
	@make/deps build run test web
	@command -v npm >/dev/null || make/deps npm
	@$(MAKE) --no-print-directory -j2 all
	@PGSEAL_LONG=1 $(STEADY) tests/e2e/run $(abspath $(BUILD)/bin) tests/web

ASAN := BUILD=build-asan SAN=address,undefined CFLAGS="-O1 -g"
TSAN := BUILD=build-tsan SAN=thread CFLAGS="-O1 -g"
# What crosses threads: the bus, the log, the segment codec, the repository, queries watched from another thread, the
# jobs' pipelines and channels.
TSAN_DIRS := common/base common/bus common/crypto common/postgres common/repository agent/jobs agent/recovery agent/session agent/supervisor
# (Restores cross threads where plans do, trials where drills do: reading ahead.)
TSAN_TESTS := $(filter-out %/agent/jobs/test_trial.c %/s3/test_server.c %/s3/test_server_faults.c tests/unit/agent/recovery/test_restore_%.c,$(foreach dir,$(TSAN_DIRS),$(filter tests/unit/$(dir)/%,$(UNIT_SOURCES))))
sanitized: asan-binaries ## unit tests under ASan+UBSan, thread-crossing ones under TSan, and a sanitized end-to-end run
	@make/beside "$(MAKE) --no-print-directory asan-unit" "$(MAKE) --no-print-directory -s -j2 tsan-binaries"
	@$(MAKE) --no-print-directory tsan-unit
	@$(MAKE) --no-print-directory $(ASAN) e2e E2E=tests/e2e/test_main_path.py

.PHONY: asan-binaries asan-unit tsan-binaries tsan-unit some-binaries unit-some
asan-binaries:
	@$(MAKE) --no-print-directory -j2 $(ASAN) all unit-binaries
asan-unit:
	@$(MAKE) --no-print-directory $(ASAN) unit
tsan-binaries:
	@$(MAKE) --no-print-directory $(TSAN) some-binaries SOME="$(TSAN_TESTS)"
tsan-unit:
	@$(MAKE) --no-print-directory $(TSAN) unit-some SOME="$(TSAN_TESTS)"
some-binaries: $(patsubst tests/%.c,$(BUILD)/tests/%,$(SOME))
unit-some: some-binaries
	@$(STEADY) tests/unit/run $(patsubst tests/%.c,$(BUILD)/tests/%,$(SOME))

# What is quick and tells most comes first; what most of it is for, the faults, before the same once more with the sanitizers.
PARTS ?= model trial mutants web faults e2e asan-faults asan-e2e
test-long: ## the long loops, part by part: PostgreSQL's regression database, random kills; hours. PARTS="web faults": only these
	@$(MAKE) --no-print-directory deps
	@make/deps prometheus model mail web
	@command -v npm >/dev/null || make/deps npm
	@$(MAKE) --no-print-directory -j2 all
	@make/parts $(BUILD)/long "$(MAKE) --no-print-directory" $(PARTS)

.PHONY: $(addprefix long-,model trial mutants web faults e2e asan-faults asan-e2e)
long-model:
	@tests/model/run --long
long-trial:
	@PGSEAL_LONG=1 $(MAKE) --no-print-directory unit-some SOME=tests/unit/agent/jobs/test_trial.c
long-mutants:
	@tests/mutants/run
long-web: web
long-faults:
	@PGSEAL_LONG=1 $(RUN_TESTS) $(FAULTS)
long-e2e:
	@PGSEAL_LONG=1 $(RUN_TESTS) $(E2E)
# In their short form: as much as `make test` runs without sanitizers.
long-asan-faults long-asan-e2e: long-asan-%:
	@$(MAKE) --no-print-directory -j2 $(ASAN) all
	@$(MAKE) --no-print-directory $(ASAN) $*

mutants: ## weakens the comparison and the fingerprint, one way at a time; each has to make some test fail
	@make/deps build run test
	@tests/mutants/run

lint: ## formatting, static analysis, lengths, banned calls, layering
	@make/deps build check
	@$(MAKE) --no-print-directory -s $(BUILD)/gen/proto/pgseal.pb-c.c
	@make/lint $(BUILD)

format: ## rewrite the sources as .clang-format says
	clang-format -i $$(git ls-files '*.c' '*.h')

FUZZ_SECONDS ?= 60
fuzz: ## every fuzz target, FUZZ_SECONDS each (default 60)
	@make/deps build check
	@$(MAKE) --no-print-directory -s $(BUILD)/gen/proto/pgseal.pb-c.c
	@tests/fuzz/run $(FUZZ_SECONDS)

bench: all ## measurements, as ratios against something real in the same run
	@make/deps build run test s3 bench
	@tests/bench/run $(abspath $(BUILD)/bin)
	@PGSEAL_BIN=$(abspath $(BUILD)/bin) tests/bench/segment-path
	@$(MAKE) --no-print-directory -s some-binaries SOME=tests/unit/coordinator/rotation/test_month.c
	@tests/bench/rotation $(BUILD)
	@PGSEAL_BIN=$(abspath $(BUILD)/bin) tests/bench/surgical
	@PGSEAL_BIN=$(abspath $(BUILD)/bin) tests/bench/ledger $(BUILD)

bench-fleet: all $(BUILD)/bench/agents ## what one coordinator makes of 1,000 to 10,000 databases with a tenth as many agents; two, one killed; some minutes
	@tests/bench/fleet/run $(abspath $(BUILD)/bin)
	@tests/bench/fleet/failover $(abspath $(BUILD)/bin)

model: ## the lease-and-fencing protocol, checked exhaustively (spin); tests/model/run --long for larger bounds
	@make/deps build model
	@tests/model/run

profile: all ## where CPU time goes while a checkpoint is proven (perf)
	@make/deps build run test profile
	@tests/bench/run $(abspath $(BUILD)/bin) --profile

install: all ## into $(DESTDIR)$(PREFIX)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/pgseal/images $(DESTDIR)$(PREFIX)/share/pgseal/systemd $(DESTDIR)$(PREFIX)/share/pgseal/policies $(DESTDIR)$(PREFIX)/share/pgseal/prometheus $(DESTDIR)$(PREFIX)/share/pgseal/grafana $(DESTDIR)$(PREFIX)/share/doc/pgseal/docs $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 755 $(BINARIES) $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(filter-out %.md,$(wildcard deploy/images/*)) $(DESTDIR)$(PREFIX)/share/pgseal/images/
	install -m 644 deploy/agent.yaml deploy/coordinator.yaml deploy/fleet.yaml $(DESTDIR)$(PREFIX)/share/pgseal/
	install -m 644 $(wildcard deploy/systemd/*) $(DESTDIR)$(PREFIX)/share/pgseal/systemd/
	install -m 644 $(wildcard deploy/policies/*) $(DESTDIR)$(PREFIX)/share/pgseal/policies/
	install -m 644 $(wildcard deploy/prometheus/*) $(DESTDIR)$(PREFIX)/share/pgseal/prometheus/
	install -m 644 $(wildcard deploy/grafana/*) $(DESTDIR)$(PREFIX)/share/pgseal/grafana/
	make/man $(BUILD)/bin $(BUILD)/man
	install -m 644 $(BUILD)/man/pgseal.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 $(BUILD)/man/pgseal-coordinator.8 $(BUILD)/man/pgseal-agent.8 $(DESTDIR)$(PREFIX)/share/man/man8/
	install -m 644 README.md ARCHITECTURE.md LICENSE $(DESTDIR)$(PREFIX)/share/doc/pgseal/
	install -m 644 $(wildcard docs/*) $(DESTDIR)$(PREFIX)/share/doc/pgseal/docs/

uninstall: ## removes what install put there
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,$(notdir $(BINARIES)))
	rm -rf $(DESTDIR)$(PREFIX)/share/pgseal $(DESTDIR)$(PREFIX)/share/doc/pgseal
	rm -f $(DESTDIR)$(PREFIX)/share/man/man1/pgseal.1 $(DESTDIR)$(PREFIX)/share/man/man8/pgseal-coordinator.8 $(DESTDIR)$(PREFIX)/share/man/man8/pgseal-agent.8

clean: ## remove what was built
	rm -rf build build-asan build-tsan build-fuzz
