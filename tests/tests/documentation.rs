//! The documents name the tests, reasons and metrics that the code has.

#![allow(missing_docs, clippy::expect_used)]

use std::collections::BTreeSet;

use trailpad_common::failure::Reason;
use trailpad_common::runtime::metrics;
use trailpad_tests::repository;

#[test]
fn every_test_and_file_named_in_the_guarantees_exists() {
    let guarantees = repository::read("docs/guarantees.md");
    // The odd pieces are code spans, the even pieces the text around them.
    let pieces: Vec<&str> = guarantees.split('`').collect();
    let mut missing = Vec::new();
    let mut tests = 0;
    for at in (1..pieces.len()).step_by(2) {
        let span = pieces[at];
        if is_path_of_test(span) {
            let (module, name) = span.rsplit_once("::").expect("the path should have a module");
            let is_module = source_of(span).is_some();
            let is_test = source_of(module).is_some_and(|source| has_function(&source, name));
            if !is_module && !is_test {
                missing.push(span);
            }
            tests += 1;
        } else if span.contains('/') {
            if !repository::path(span).exists() {
                missing.push(span);
            }
        } else if pieces[at + 1].trim() == "in" && pieces[at + 2].ends_with(".rs") {
            // A unit test: `name` in `file.rs`.
            if !has_function(&repository::read(pieces[at + 2]), span) {
                missing.push(span);
            }
            tests += 1;
        }
    }
    assert!(tests > 30, "only {tests} tests were found in the document");
    assert!(missing.is_empty(), "docs/guarantees.md names missing tests or files: {missing:#?}");
}

/// `module::test`, in lower case.
fn is_path_of_test(span: &str) -> bool {
    let is_name = |part: &str| {
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        !part.is_empty() && part.chars().all(is_allowed)
    };
    span.contains("::") && span.split("::").all(is_name)
}

/// The source of a module of the conformance suite or, without that prefix, of the stories.
fn source_of(module: &str) -> Option<String> {
    let path = match module.strip_prefix("conformance::") {
        Some(module) => format!("tests/tests/conformance/{module}.rs"),
        None => format!("tests/tests/stories/{}.rs", module.replace("::", "/")),
    };
    repository::path(&path).exists().then(|| repository::read(&path))
}

fn has_function(source: &str, name: &str) -> bool {
    source.contains(&format!("fn {name}("))
}

#[test]
fn the_table_of_reasons_lists_every_reason() {
    let operations = repository::read("docs/operations.md");
    let documented = first_cells(section(&operations, "### Reasons"));
    let reasons: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(documented, reasons);
}

#[test]
fn the_tables_of_metrics_list_every_metric() {
    let operations = repository::read("docs/operations.md");
    let documented: BTreeSet<&str> = first_cells(section(&operations, "## Metrics"))
        .into_iter()
        .filter(|cell| cell.starts_with("trailpad_"))
        .collect();
    let registered: BTreeSet<&str> = metrics::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(documented, registered);
}

/// The text below a heading, up to the next heading of the same or a higher level.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let (_, below) = document
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("the heading {heading:?} should exist"));
    let level = heading.find(' ').expect("the heading should have a title");
    let ends = (1..=level).filter_map(|level| below.find(&format!("\n{} ", "#".repeat(level))));
    &below[..ends.min().unwrap_or(below.len())]
}

/// The code spans in the first cells of the tables of a section.
fn first_cells(section: &str) -> BTreeSet<&str> {
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).collect()
}
