//! Bearer tokens, read from where the configuration says they are.

use std::fs;
use std::path::Path;

use statehouse_contracts::{Namespace, Principal, Secret};

use super::environment::Environment;
use super::problem::{Origin, Problem, Problems};
use super::sections::TokenConfig;

/// The longest token file; anything longer is some other file.
const LARGEST: u64 = 64 * 1024;

/// A bearer token that opens the HTTP API.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token.
    pub secret: Secret,
    /// The only namespace it opens, where it is fixed.
    pub namespace: Option<Namespace>,
    /// Who acts with it.
    pub principal: Principal,
}

/// Reads every token.
///
/// # Errors
/// Every token that is missing, empty or cannot be read.
pub fn read_tokens(
    tokens: &[TokenConfig],
    environment: &Environment,
) -> Result<Vec<Token>, Problems> {
    let mut problems = Vec::new();
    let mut read = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match secret(token, environment) {
            Ok(secret) => read.push(Token {
                secret,
                namespace: token.namespace.clone(),
                principal: token.principal.clone(),
            }),
            Err(text) => {
                let key = format!("server.tokens.{index}");
                problems.push(Problem::at(&Origin::Default, &key, text));
            }
        }
    }
    if problems.is_empty() {
        Ok(read)
    } else {
        Err(Problems(problems))
    }
}

fn secret(token: &TokenConfig, environment: &Environment) -> Result<Secret, String> {
    let (text, source) = match (&token.token_env, &token.token_file) {
        (Some(name), None) => {
            let text = environment.text(name)?;
            let text = text.ok_or_else(|| format!("the environment variable {name} is not set"))?;
            (text.to_owned(), name.clone())
        }
        (None, Some(path)) => (file(path)?, path.display().to_string()),
        _ => return Err("give token_env or token_file, one of them".to_owned()),
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(format!("{source} is empty; it must hold the token"));
    }
    if text.chars().any(char::is_whitespace) {
        return Err(format!("{source} holds white space inside the token"));
    }
    Ok(Secret::new(text))
}

fn file(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let cannot = |error: std::io::Error| format!("the token file {shown} cannot be read: {error}");
    let found = fs::metadata(path).map_err(cannot)?;
    if !found.is_file() || found.len() > LARGEST {
        return Err(format!("{shown} is not a file of at most {LARGEST} bytes"));
    }
    let bytes = fs::read(path).map_err(cannot)?;
    String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8 text"))
}
