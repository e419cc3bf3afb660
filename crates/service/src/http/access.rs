//! Who may call, and for whom.

use std::collections::HashMap;

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use statehouse_config::Token;
use statehouse_contracts::{Error, ErrorKind, Namespace, Principal, Scope};
use statehouse_wire::header as ours;

use super::headers::text;
use super::problem::Problem;

/// The tokens of the service, by their digest, so that finding one takes the same time whatever
/// it shares with a right one.
#[derive(Debug)]
pub(super) struct Access {
    tokens: HashMap<[u8; 32], Grant>,
    namespace: Namespace,
    anonymous: Principal,
}

/// What a token opens.
#[derive(Clone, Debug)]
struct Grant {
    namespace: Option<Namespace>,
    principal: Principal,
}

impl Access {
    /// With these tokens, or without any for everybody who can reach the service.
    pub(super) fn new(tokens: Vec<Token>, namespace: Namespace) -> Result<Self, Error> {
        let tokens = tokens.into_iter().map(|token| {
            let grant = Grant {
                namespace: token.namespace,
                principal: token.principal,
            };
            (digest(token.secret.reveal()), grant)
        });
        Ok(Self {
            tokens: tokens.collect(),
            namespace,
            anonymous: Principal::new("anonymous")?,
        })
    }

    /// For whom a request with these headers acts, and whether it may see this namespace only.
    pub(super) fn scope(&self, headers: &HeaderMap) -> Result<(Scope, bool), Problem> {
        let asked = text(headers, ours::NAMESPACE)?
            .map(Namespace::new)
            .transpose()?;
        let grant = self.grant(headers)?;
        let fixed = grant.namespace.is_some();
        let namespace = match (grant.namespace, asked) {
            (Some(fixed), Some(asked)) if fixed != asked => {
                let message = format!("the token does not open the namespace {asked}");
                return Err(Error::new(ErrorKind::PermissionDenied, message).into());
            }
            (Some(fixed), _) => fixed,
            (None, asked) => asked.unwrap_or_else(|| self.namespace.clone()),
        };
        Ok((Scope::new(namespace, grant.principal), fixed))
    }

    fn grant(&self, headers: &HeaderMap) -> Result<Grant, Problem> {
        if self.tokens.is_empty() {
            let principal = text(headers, ours::PRINCIPAL)?
                .map(Principal::new)
                .transpose()?;
            return Ok(Grant {
                namespace: None,
                principal: principal.unwrap_or_else(|| self.anonymous.clone()),
            });
        }
        let Some(token) = bearer(headers) else {
            return Err(Problem::unauthorized(
                "this service needs a token: send Authorization: Bearer …",
            ));
        };
        let grant = self.tokens.get(&digest(token));
        grant
            .cloned()
            .ok_or_else(|| Problem::unauthorized("the token is none of this service's"))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
