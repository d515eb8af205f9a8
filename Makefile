.DEFAULT_GOAL := help
target := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help test check run bench

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: check ## Check format and lints, run every test on private servers
	cargo build --workspace --bins
	cargo test --workspace --lib --bins --tests --no-run
	$(target)/debug/with-servers cargo test --workspace --lib --bins --tests

check: ## Install what is missing, check format, lints and manifests
	scripts/install-test-deps
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	scripts/check-kubernetes

run: ## Run everything in one process, on files under ./trailpad-data
	cargo run --release -- serve

bench: ## Measure against what the broker and the database do alone
	scripts/install-test-deps bench
	cargo build --release --workspace --bin trailpad --bin bench
	$(target)/release/bench
