# What is not compiling: dependencies, tests, checks, installation.

.PHONY: unit clean
unit: $(UNIT_TESTS) ## unit tests only
	@set -e; for t in $(UNIT_TESTS); do echo "# $$t"; $$t; done

clean: ## remove what was built
	rm -rf build build-asan build-tsan
