//! The OpenAPI document of the ingress, generated from the types of its responses.

mod rejections;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER};
use bytes::Bytes;
use trailpad_common::activity::{Activity, Code, Finding};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::example::ExampleBuilder;
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

use self::rejections::every_rejection;
use crate::accepted::Accepted;
use crate::rejection::{Problem, Rejection};
use trailpad_common::webhook::INGRESS_PATH;

/// A gateway serves the document here.
pub const OPENAPI_PATH: &str = "/openapi.json";

const PROBLEM: &str = "application/problem+json";

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
        .path(format!("{INGRESS_PATH}{{token}}"), PathItem::new(HttpMethod::Post, post_activity()));
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
        .description(Some(
            "A 202 response is a promise: the activity is durable and will be stored.",
        ))
        .parameter(token())
        .parameter(header(
            "Idempotency-Key",
            "Makes repeating a request safe: only the first activity with a key is stored.",
            ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1))
                .max_length(Some(255)),
        ))
        .parameter(header(
            "Prefer",
            "`handling=strict` rejects unknown fields instead of warning about them (RFC 7240).",
            ObjectBuilder::new().schema_type(Type::String),
        ))
        .request_body(Some(body.build()))
        .response("202", accepted());
    for (status, rejections) in rejections_by_status() {
        operation = operation.response(status.as_str(), rejected(&rejections));
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

type Examples = Vec<(&'static str, Rejection)>;

fn rejections_by_status() -> BTreeMap<StatusCode, Examples> {
    let mut by_status: BTreeMap<_, Examples> = BTreeMap::new();
    for (name, rejection) in every_rejection() {
        by_status.entry(rejection.response().status()).or_default().push((name, rejection));
    }
    by_status
}

/// Describes one status by the responses to its rejections.
fn rejected(rejections: &Examples) -> Response {
    let responses: Vec<_> = rejections.iter().map(|(_, rejection)| rejection.response()).collect();
    let mut response = ResponseBuilder::new();
    for header in [ALLOW, RETRY_AFTER] {
        if responses.iter().all(|response| response.headers().contains_key(&header)) {
            let schema = ObjectBuilder::new().schema_type(match header {
                RETRY_AFTER => Type::Integer,
                _ => Type::String,
            });
            response =
                response.header(header.as_str(), HeaderBuilder::new().schema(Some(schema)).build());
        }
    }
    let examples = rejections.iter().map(|(name, rejection)| {
        let body = serde_json::from_slice(&rejection.body()).ok();
        (*name, ExampleBuilder::new().value(body).build())
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Problem::name())))
        .examples_from_iter(examples);
    response
        .description(format!("Problem details (RFC 9457) of type {}.", types(rejections)))
        .content(PROBLEM, content.build())
        .build()
}

fn types(rejections: &Examples) -> String {
    let reasons: BTreeSet<_> = rejections.iter().map(|(_, rejection)| rejection.reason()).collect();
    let quoted: Vec<_> = reasons.into_iter().map(|reason| format!("`{reason}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use trailpad_common::activity::Limits;

    use super::*;

    #[test]
    fn the_document_in_the_repository_matches_the_served_document() {
        let stored = include_str!("../../docs/openapi.json");
        assert!(
            stored == openapi(),
            "regenerate it: cargo run -p trailpad -- openapi > docs/openapi.json"
        );
    }

    #[test]
    fn documented_lengths_equal_the_ingress_limits() {
        let document: Value =
            serde_json::from_str(&openapi()).expect("the document should be valid JSON");
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
