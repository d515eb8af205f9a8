//! The OpenAPI document of the ingress, made from the types that answer.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER};
use bytes::Bytes;
use trailpad_common::activity::{Activity, Code, Finding, PayloadError};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{
    ComponentsBuilder, Info, License, ObjectBuilder, OpenApi, OpenApiBuilder, Ref, Required,
    Response, ResponseBuilder, Server, Type,
};
use utoipa::{PartialSchema, ToSchema};

use crate::handler::Accepted;
use crate::rejection::{NotAccepted, Problem, Rejection};

/// Where a gateway serves it.
pub const OPENAPI_PATH: &str = "/openapi.json";

const PROBLEM: &str = "application/problem+json";

/// Answers with the document.
pub async fn openapi_document() -> HttpResponse {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(openapi()));
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT.clone())
}

/// The OpenAPI 3.1 document of the ingress, as JSON.
pub fn openapi() -> String {
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

fn document() -> OpenApi {
    let mut info = Info::new("Trailpad ingest", env!("CARGO_PKG_VERSION"));
    info.description =
        Some("Integrate any tool, any workflow: post activities to a webhook.".into());
    let mut license = License::new(env!("CARGO_PKG_LICENSE"));
    license.identifier = Some(env!("CARGO_PKG_LICENSE").into());
    info.license = Some(license);
    let components = ComponentsBuilder::new()
        .schema(Activity::name(), Activity::schema())
        .schema(Accepted::name(), Accepted::schema())
        .schema(Problem::name(), Problem::schema())
        .schema(Finding::name(), Finding::schema())
        .schema(Code::name(), Code::schema());
    let paths = PathsBuilder::new()
        .path("/webhooks/ingress/{token}", PathItem::new(HttpMethod::Post, post_activity()));
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new("/")]))
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

fn post_activity() -> OperationBuilder {
    let body = RequestBodyBuilder::new()
        .description(Some("One activity; may be compressed (gzip, deflate, br, zstd)."))
        .required(Some(Required::True))
        .content(
            "application/json",
            ContentBuilder::new().schema(Some(Ref::from_schema_name(Activity::name()))).build(),
        );
    let mut operation = OperationBuilder::new()
        .operation_id(Some("postActivity"))
        .summary(Some("Send an activity"))
        .description(Some("The answer 202 is a promise: the activity is durable and will be stored."))
        .parameter(token())
        .parameter(header(
            "Idempotency-Key",
            "Makes repeating a request safe: the first activity with a key is the one that is stored.",
            ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255)),
        ))
        .parameter(header(
            "Prefer",
            "`handling=strict` refuses fields that are not known, instead of warning (RFC 7240).",
            ObjectBuilder::new().schema_type(Type::String),
        ))
        .request_body(Some(body.build()))
        .response("202", accepted());
    for (status, rejections) in rejections_by_status() {
        operation = operation.response(status.as_str(), refused(&rejections));
    }
    operation
}

fn token() -> Parameter {
    ParameterBuilder::new()
        .name("token")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The webhook's secret token. Treat the URL like a password."))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).min_length(Some(1))))
        .build()
}

fn header(name: &str, description: &str, schema: ObjectBuilder) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

fn accepted() -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Accepted::name())));
    ResponseBuilder::new()
        .description("The activity is durable in the queue.")
        .content("application/json", content.build())
        .build()
}

/// One status, described by the real answers to its rejections.
fn refused(rejections: &[Rejection]) -> Response {
    let answers: Vec<HttpResponse> = rejections.iter().map(Rejection::response).collect();
    let mut response = ResponseBuilder::new();
    for header in [ALLOW, RETRY_AFTER] {
        if answers.iter().all(|answer| answer.headers().contains_key(&header)) {
            let schema = ObjectBuilder::new().schema_type(match header {
                RETRY_AFTER => Type::Integer,
                _ => Type::String,
            });
            response =
                response.header(header.as_str(), HeaderBuilder::new().schema(Some(schema)).build());
        }
    }
    let examples = rejections.iter().zip(answers).filter_map(|(rejection, answer)| {
        let body = answer.into_body().try_into_bytes().ok()?;
        let value = serde_json::from_slice(&body).ok();
        Some((
            rejection.reason(),
            utoipa::openapi::example::ExampleBuilder::new().value(value).build(),
        ))
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Problem::name())))
        .examples_from_iter(examples);
    let reasons: Vec<_> =
        rejections.iter().map(|rejection| format!("`{}`", rejection.reason())).collect();
    response
        .description(format!("Problem details (RFC 9457) of type {}.", reasons.join(", ")))
        .content(PROBLEM, content.build())
        .build()
}

fn rejections_by_status() -> BTreeMap<StatusCode, Vec<Rejection>> {
    let mut by_status: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for rejection in every_rejection() {
        by_status.entry(rejection.response().status()).or_default().push(rejection);
    }
    by_status
}

/// One of each kind, with values that make good examples.
fn every_rejection() -> [Rejection; 16] {
    let fault = Finding {
        pointer: "/startTime".into(),
        code: Code::Required,
        detail: "startTime is missing: send an ISO 8601 date and time".into(),
    };
    let not_json =
        PayloadError::NotJson { line: 1, column: 10, detail: "a value is missing here".into() };
    [
        Rejection::NotFound,
        Rejection::MethodNotAllowed,
        Rejection::InvalidToken,
        Rejection::WebhookRevoked,
        Rejection::MediaType,
        Rejection::Encoding,
        Rejection::Header("send one Idempotency-Key, not several"),
        Rejection::TooLarge(262_144),
        Rejection::Corrupt,
        Rejection::TooSlow,
        Rejection::Payload(not_json),
        Rejection::Payload(PayloadError::NotAnObject),
        Rejection::Payload(PayloadError::Faults(vec![fault])),
        Rejection::RateLimited(Duration::from_secs(1)),
        Rejection::NotAccepted(NotAccepted::Overloaded),
        Rejection::OutcomeUnknown,
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use trailpad_common::activity::Limits;

    use super::*;

    #[test]
    fn the_document_in_the_repository_is_the_one_that_is_served() {
        let kept = include_str!("../../docs/openapi.json");
        assert!(kept == openapi(), "run: cargo run -- openapi > docs/openapi.json");
    }

    #[test]
    fn the_documents_lengths_are_the_limits() {
        let document: Value = serde_json::from_str(&openapi()).expect("JSON");
        let activity = &document["components"]["schemas"]["Activity"]["properties"];
        let limits = Limits::INGRESS;
        for (field, bytes_max) in [
            ("title", limits.title_bytes_max),
            ("description", limits.description_bytes_max),
            ("trigger", limits.label_bytes_max),
            ("event", limits.label_bytes_max),
            ("externalId", limits.external_id_bytes_max),
        ] {
            assert_eq!(activity[field]["maxLength"], bytes_max, "{field}");
        }
    }
}
