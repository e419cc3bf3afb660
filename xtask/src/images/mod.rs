//! `cargo xtask images`: stand-ins for public images, made of packages.
//!
//! For machines that reach no registry of images but reach packages. An image is kept until its
//! recipe in `integration-tests/services.toml` changes.

mod build;
mod recipe;

use std::process::Command;

use crate::process::{self, Result};

use recipe::Recipe;

/// The label of an image that says which recipe it was made by.
const LABEL: &str = "statehouse.recipe";

#[derive(Debug, Default)]
struct Arguments {
    check: bool,
    only: Vec<String>,
}

/// `cargo xtask images [--only NAME]… [--check]`
pub(crate) fn main(arguments: &[String]) -> Result {
    let arguments = parse(arguments)?;
    docker_answers()?;
    let mut missing = Vec::new();
    for recipe in recipes(&arguments.only)? {
        if is_made(&recipe) {
            eprintln!("{}: up to date", recipe.image());
        } else if arguments.check {
            missing.push(recipe.image());
        } else {
            build::build(&recipe)?;
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "missing or out of date: {}\n`cargo xtask images` makes them",
        missing.join(", ")
    ))
}

fn parse(arguments: &[String]) -> Result<Arguments> {
    let mut parsed = Arguments::default();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--check" => parsed.check = true,
            "--only" => match words.next() {
                Some(name) => parsed.only.push(name.clone()),
                None => return Err("--only needs the name of a service".to_owned()),
            },
            other => return Err(format!("unknown argument `{other}`")),
        }
    }
    Ok(parsed)
}

fn recipes(only: &[String]) -> Result<Vec<Recipe>> {
    let all = Recipe::all()?;
    if let Some(unknown) = only
        .iter()
        .find(|name| all.iter().all(|recipe| recipe.service() != **name))
    {
        let known: Vec<&str> = all.iter().map(Recipe::service).collect();
        return Err(format!(
            "no recipe for `{unknown}`; there are {}",
            known.join(", ")
        ));
    }
    let wanted = |recipe: &Recipe| only.is_empty() || only.iter().any(|n| n == recipe.service());
    Ok(all.into_iter().filter(wanted).collect())
}

/// Whether Docker has the image of just this recipe.
fn is_made(recipe: &Recipe) -> bool {
    let label = format!("{{{{index .Config.Labels \"{LABEL}\"}}}}");
    let mut command = Command::new("docker");
    command.args(["image", "inspect", "--format", &label, &recipe.image()]);
    process::quiet_output(&mut command).is_some_and(|said| said.trim() == recipe.hash())
}

fn docker_answers() -> Result {
    if process::works(Command::new("docker").arg("info")) {
        return Ok(());
    }
    Err("Docker does not answer: is it installed, and its daemon running?".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn arguments_choose_what_is_made() {
        let parsed = parse(&words("--only redis --check --only valkey")).expect("valid");
        assert!(parsed.check);
        assert_eq!(parsed.only, ["redis", "valkey"]);
        assert!(parse(&words("--only")).is_err());
        assert!(parse(&words("redis")).is_err_and(|error| error.contains("`redis`")));
    }

    #[test]
    fn an_unknown_service_is_answered_with_the_known_ones() {
        let message = recipes(&words("reddis")).expect_err("unknown");
        assert!(
            message.contains("`reddis`") && message.contains("valkey"),
            "{message}"
        );
        let chosen = recipes(&words("valkey")).expect("known");
        assert_eq!(chosen.len(), 1);
    }
}
