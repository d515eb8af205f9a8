//! Examples of the payload's rules, and property tests against `serde_json`.

use proptest::prelude::*;

use super::*;

fn parse(body: &str) -> Result<Parsed<'_>, PayloadError> {
    Activity::parse(body.as_bytes(), Handling::Lenient, &Limits::INGRESS)
}

fn accepted(body: &str) -> Parsed<'_> {
    parse(body).expect("the payload should be accepted")
}

/// A valid payload with `extra` members added.
fn with(extra: &str) -> String {
    format!(r#"{{"title":"T","startTime":"2024-08-03T11:30:00Z"{extra}}}"#)
}

/// Pointer and code of every fault; panics if the payload is accepted.
fn faults(body: &str) -> Vec<(String, Code)> {
    match parse(body) {
        Err(PayloadError::Faults(faults)) => {
            faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
        }
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn the_documented_example_is_accepted_without_warnings() {
    let body = r#"{
"title": "Customer Inquiry Handled",
"description": "Handled customer inquiry from Jane Doe regarding billing.",
"startTime": "2024-08-03T11:30:00Z",
"trigger": "Manual Log",
"event": "Call Center Log",
"externalId": "call-log-9876"
}"#;
    let parsed = accepted(body);
    assert_eq!(parsed.warnings, []);
    assert_eq!(parsed.activity.title, "Customer Inquiry Handled");
    assert_eq!(parsed.activity.start_time.to_string(), "2024-08-03T11:30:00.000000Z");
    assert_eq!(parsed.activity.external_id.as_deref(), Some("call-log-9876"));
    assert!(
        matches!(parsed.activity.title, Cow::Borrowed(_)),
        "a text without escapes should not be copied"
    );
}

#[test]
fn all_faults_are_reported_at_once_with_their_pointers() {
    let body = r#"{"title":" ","startTime":"soon","endTime":7,"memberEmail":"jane","externalId":"",
        "metadata":{"a":[1,{"b":"\u0000"}],"n":1e999,"processing":{"onDuplicate":"merge","onUnknownMember":1}}}"#;
    let expected = [
        ("/title", Code::Blank),
        ("/startTime", Code::Datetime),
        ("/endTime", Code::Type),
        ("/memberEmail", Code::Email),
        ("/externalId", Code::Blank),
        ("/metadata/a/1/b", Code::Nul),
        ("/metadata/n", Code::NumberRange),
        ("/metadata/processing/onDuplicate", Code::Processing),
        ("/metadata/processing/onUnknownMember", Code::Processing),
    ];
    assert_eq!(faults(body), expected.map(|(pointer, code)| (pointer.to_owned(), code)));
}

#[test]
fn missing_required_fields_are_faults_and_null_means_missing() {
    let required =
        [("/title".to_owned(), Code::Required), ("/startTime".to_owned(), Code::Required)];
    assert_eq!(faults("{}"), required);
    assert_eq!(faults(r#"{"title":null,"startTime":null}"#), required);
    let body = with(
        r#","endTime":null,"description":null,"metadata":null,"memberEmail":null,"externalId":null"#,
    );
    assert_eq!(accepted(&body).activity.metadata, None);
}

#[test]
fn a_field_of_the_wrong_type_is_not_reported_as_missing_too() {
    let wrong = [("/title".to_owned(), Code::Type), ("/startTime".to_owned(), Code::Type)];
    assert_eq!(faults(r#"{"title":1,"startTime":{}}"#), wrong);
}

#[test]
fn an_end_before_its_start_is_rejected_and_an_equal_end_is_accepted() {
    assert_eq!(
        faults(&with(r#","endTime":"2024-08-03T11:29:59Z""#)),
        [("/endTime".to_owned(), Code::EndBeforeStart)]
    );
    // Equal after truncation to the microsecond, which is the stored precision.
    let body = r#"{"title":"T","startTime":"2024-08-03T11:30:00.0000009Z","endTime":"2024-08-03T11:30:00.0000001Z"}"#;
    assert!(parse(body).is_ok());
}

#[test]
fn a_repeated_key_is_a_fault_in_every_object() {
    assert_eq!(faults(&with(r#","title":"U""#)), [("/title".to_owned(), Code::DuplicateName)]);
    assert_eq!(
        faults(&with(r#","metadata":{"a":{"b":1,"\u0062":2}}"#)),
        [("/metadata/a/b".to_owned(), Code::DuplicateName)]
    );
    let many: Vec<String> = (0..40).map(|n| format!(r#""k{}":0"#, n % 39)).collect();
    assert_eq!(
        faults(&with(&format!(r#","metadata":{{{}}}"#, many.join(",")))),
        [("/metadata/k0".to_owned(), Code::DuplicateName)]
    );
}

#[test]
fn nesting_is_limited_to_64_levels() {
    // The activity and its metadata are two of the 64 levels.
    let nested = |levels: usize| {
        with(&format!(r#","metadata":{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels)))
    };
    assert!(parse(&nested(62)).is_ok());
    assert_eq!(faults(&nested(63)).len(), 1);
    assert_eq!(faults(&nested(100_000))[0].1, Code::TooDeep);
}

#[test]
fn lengths_are_limited_in_bytes_of_the_decoded_text() {
    for (field, bytes_max) in [
        ("title", 1_024),
        ("description", 65_536),
        ("trigger", 512),
        ("event", 512),
        ("externalId", 512),
    ] {
        let body = |len: usize| {
            let others = if field == "title" { "" } else { r#""title":"T","# };
            format!(
                r#"{{{others}"startTime":"2024-08-03T11:30:00Z","{field}":"{}"}}"#,
                "x".repeat(len)
            )
        };
        assert!(parse(&body(bytes_max)).is_ok(), "{field}");
        assert_eq!(faults(&body(bytes_max + 1)), [(format!("/{field}"), Code::TooLong)]);
        assert!(
            Activity::parse(body(bytes_max + 1).as_bytes(), Handling::Lenient, &Limits::NONE)
                .is_ok(),
            "a worker should apply no limit to {field}"
        );
    }
    // An escape counts as its decoded character.
    assert!(parse(&with(&format!(r#","externalId":"{}""#, "\\u0041".repeat(512)))).is_ok());
}

#[test]
fn an_unknown_field_is_a_warning_and_with_strict_handling_a_fault() {
    let body = with(r#","start_time":1,"colour":"red""#);
    let warnings = accepted(&body).warnings;
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].detail.contains("did you mean startTime?"), "{warnings:?}");
    let error = Activity::parse(body.as_bytes(), Handling::Strict, &Limits::INGRESS)
        .expect_err("unknown fields should be rejected");
    let PayloadError::Faults(faults) = error else { panic!("{error:?}") };
    assert_eq!(
        faults.iter().map(|fault| fault.pointer.as_str()).collect::<Vec<_>>(),
        ["/start_time", "/colour"]
    );
}

#[test]
fn the_number_and_size_of_findings_are_limited() {
    let unknown: Vec<String> = (0..10_000).map(|n| format!(r#""x{n}":0"#)).collect();
    let warnings = accepted(&with(&format!(",{}", unknown.join(",")))).warnings;
    assert_eq!(warnings.len(), 50);
    assert_eq!(warnings[49].code, Code::More);
    let broken: Vec<String> = (0..10_000).map(|n| format!(r#""x{n}":1e999"#)).collect();
    assert_eq!(faults(&with(&format!(r#","metadata":{{{}}}"#, broken.join(",")))).len(), 50);
    let long_key = faults(&with(&format!(r#","metadata":{{"{}":1e999}}"#, "k/".repeat(100_000))));
    assert!(long_key[0].0.len() < 200);
}

#[test]
fn no_finding_quotes_a_value() {
    let body = r#"{"title":" ","startTime":"SECRET","endTime":"SECRET","memberEmail":"SECRET","metadata":"SECRET","description":7}"#;
    let Err(PayloadError::Faults(faults)) = parse(body) else { panic!() };
    assert!(faults.iter().all(|fault| !fault.detail.contains("SECRET")), "{faults:?}");
}

#[test]
fn processing_instructions_are_parsed_and_other_shapes_are_data() {
    let processing = |metadata: &str| {
        parse(&with(&format!(r#","metadata":{metadata}"#))).expect(metadata).activity.processing
    };
    assert_eq!(
        processing(
            r#"{"processing":{"onDuplicate":"replace","onUnknownMember":"creator","other":1}}"#
        ),
        Processing {
            on_duplicate: OnDuplicate::Replace,
            on_unknown_member: OnUnknownMember::Creator
        }
    );
    for data in [
        r#"{"processing":"fast"}"#,
        r#"{"processing":[{"onDuplicate":"replace"}]}"#,
        r#"{"a":{"processing":{"onDuplicate":"x"}}}"#,
        r#"{"processing":{"onDuplicate":null}}"#,
    ] {
        assert_eq!(processing(data), Processing::default(), "{data}");
    }
    assert!(
        parse(&with(r#","processing":{"onDuplicate":"x"}"#)).is_ok(),
        "instructions outside of metadata should be ignored"
    );
}

#[test]
fn invalid_json_is_reported_with_line_and_column() {
    for (body, at) in [
        ("", (1, 1)),
        ("{", (1, 2)),
        ("{\n  \"title\": \"é\" x", (2, 16)),
        (r#"{"title":"T",}"#, (1, 14)),
        (r#"{"a":01}"#, (1, 7)),
        (r#"{"a":.5}"#, (1, 6)),
        (r#"{"a":NaN}"#, (1, 6)),
        (r#"{"a":1} {"#, (1, 9)),
        ("{'a':1}", (1, 2)),
        ("\u{feff}{}", (1, 1)),
    ] {
        match parse(body) {
            Err(PayloadError::NotJson { line, column, .. }) => {
                assert_eq!((line, column), at, "{body:?}")
            }
            other => panic!("{body:?}: {other:?}"),
        }
    }
    assert!(matches!(
        Activity::parse(b"{\"title\":\"\xff\"}", Handling::Lenient, &Limits::INGRESS),
        Err(PayloadError::NotJson { line: 1, column: 11, .. })
    ));
}

#[test]
fn json_other_than_an_object_is_rejected() {
    for body in ["[]", "\"title\"", "1", "null", "true", "[{\"title\":\"T\"}]"] {
        assert_eq!(parse(body), Err(PayloadError::NotAnObject), "{body}");
    }
}

/// JSON values without NUL characters and without numbers outside the range of a double.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_filter_map("finite", |number| serde_json::Number::from_f64(number)
            .map(Into::into)),
        "\\PC{0,12}".prop_map(Into::into),
        any::<String>().prop_filter("no NUL", |text| !text.contains('\0')).prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map("[a-z\"\\\\é/~]{0,4}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_metadata_is_accepted_and_kept_byte_for_byte(data in json(), pretty: bool) {
        let metadata = serde_json::json!({ "data": data });
        let text = if pretty { serde_json::to_string_pretty(&metadata) } else { serde_json::to_string(&metadata) }.expect("a JSON value should serialise");
        let body = with(&format!(",\"metadata\": {text}"));
        prop_assert_eq!(accepted(&body).activity.metadata, Some(text.as_str()));
    }

    #[test]
    fn a_text_is_decoded_as_serde_json_decodes_it(title in "[^\\x00]{0,20}[a-z]") {
        let body = serde_json::json!({ "title": title, "startTime": "2024-08-03T11:30:00Z" }).to_string();
        prop_assert_eq!(&accepted(&body).activity.title, &title);
    }

    #[test]
    fn a_body_that_serde_json_rejects_is_rejected_without_a_panic(mut bytes in json().prop_map(|data| with(&format!(",\"metadata\":{{\"d\":{data}}}")).into_bytes()), at: prop::sample::Index, byte: u8, cut: bool) {
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte };
        let ours = Activity::parse(&bytes, Handling::Lenient, &Limits::INGRESS);
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok() && std::str::from_utf8(&bytes).is_ok();
        prop_assert!(is_json || ours.is_err());
        if is_json {
            prop_assert!(!matches!(ours, Err(PayloadError::NotJson { .. })), "serde_json accepts {:?}", String::from_utf8_lossy(&bytes));
        }
    }
}
