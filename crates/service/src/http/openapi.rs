//! The description of the API: what the routes do not say themselves.

use statehouse_wire::{ErrorDocument, PROBLEM, header};
use utoipa::OpenApi as _;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, Ref, RefOr, ResponseBuilder};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Statehouse",
        description = "State and messaging for fleets of AI agents.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ErrorDocument))
)]
struct Head;

/// What stands above the routes.
pub(super) fn document() -> OpenApi {
    Head::openapi()
}

/// Adds to every operation what all of them have: the problem document, the token, and the
/// headers that name the scope.
pub(super) fn complete(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_default();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components
        .security_schemes
        .insert("token".to_owned(), RefOr::T(bearer));
    for (path, item) in &mut document.paths.paths {
        let scoped = path.starts_with("/v1/");
        for operation in operations(item) {
            operation
                .responses
                .responses
                .insert("default".to_owned(), RefOr::T(problem()));
            if scoped {
                let parameters = operation.parameters.get_or_insert_default();
                parameters.extend([
                    scope(
                        header::NAMESPACE,
                        "The namespace; `default` when not given.",
                    ),
                    scope(header::PRINCIPAL, "Who acts, where no token says so."),
                ]);
                let none = Vec::<String>::new();
                operation.security = Some(vec![
                    SecurityRequirement::new("token", none),
                    SecurityRequirement::default(),
                ]);
            }
        }
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.head,
    ]
    .into_iter()
    .flatten()
}

fn problem() -> utoipa::openapi::Response {
    let schema = Ref::from_schema_name("ErrorDocument");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new()
        .description("What went wrong (RFC 9457).")
        .content(PROBLEM, content)
        .build()
}

fn scope(name: &str, about: &str) -> RefOr<Parameter> {
    let parameter = ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .description(Some(about))
        .schema(Some(Object::with_type(Type::String)))
        .build();
    RefOr::T(parameter)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn description() -> Value {
        let (_, document) = super::super::routes().split_for_parts();
        serde_json::to_value(complete(document)).unwrap()
    }

    /// The routes of the page, as `METHOD path`.
    fn documented() -> BTreeSet<String> {
        let page = include_str!("../../../../docs/http-api.md");
        let first_column = page
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
        let mut found = BTreeSet::new();
        for cell in first_column {
            let mut last = String::new();
            for code in cell.split('`').skip(1).step_by(2) {
                let full = match code.strip_prefix('…') {
                    Some(end) => {
                        let start = last.rsplit_once('/').map_or("", |(start, _)| start);
                        format!("{start}{end}")
                    }
                    None => code.to_owned(),
                };
                let is_route = full
                    .split_once(" /")
                    .is_some_and(|(method, _)| ["GET", "PUT", "POST", "DELETE"].contains(&method));
                if is_route {
                    last.clone_from(&full);
                    found.insert(full);
                }
            }
        }
        found
    }

    #[test]
    fn the_page_and_the_description_know_the_same_routes() {
        let description = description();
        let mut described = BTreeSet::new();
        for (path, item) in description["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                if method != "head" {
                    described.insert(format!("{} {path}", method.to_uppercase()));
                }
            }
        }
        assert_eq!(documented(), described);
    }

    #[test]
    fn every_reference_is_defined() {
        let description = description();
        let text = description.to_string();
        let schemas = description["components"]["schemas"].as_object().unwrap();
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name} is not defined");
        }
        for (path, item) in description["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let summary = operation["summary"].as_str().unwrap_or("");
                assert!(!summary.is_empty(), "{method} {path} has no summary");
            }
        }
    }
}
