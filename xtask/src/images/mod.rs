//! `cargo xtask images`: the images of the servers that tests run on.
//!
//! The public one is pulled; where that fails, for want of a network or of a registry, a stand-in is
//! made of packages. A stand-in is kept until its recipe in `integration-tests/services.toml`
//! changes.

mod build;
mod recipe;

use std::process::Command;

use crate::process::{self, Result};

use recipe::{Images, Recipe};

/// The label of an image that says which recipe it was made by.
const LABEL: &str = "statehouse.recipe";

#[derive(Debug, Default)]
struct Arguments {
    check: bool,
    stand_in: bool,
    only: Vec<String>,
}

/// `cargo xtask images [--only NAME]… [--stand-in] [--check]`
pub(crate) fn main(arguments: &[String]) -> Result {
    let arguments = parse(arguments)?;
    docker_answers()?;
    let mut missing = Vec::new();
    for images in chosen(&arguments.only)? {
        if let Some(image) = present(&images, arguments.stand_in) {
            eprintln!("{image}: here");
        } else if arguments.check {
            missing.push(images.service);
        } else if let Some(why) = get(&images, arguments.stand_in)? {
            eprintln!("{why}");
            // Who did not ask for it by name can do without.
            missing.extend((!arguments.only.is_empty()).then_some(images.service));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("no image for: {}", missing.join(", ")))
}

/// Gets what is missing, and says what cannot be had: a public image that nothing stands in for.
pub(crate) fn get_all() -> Result<Vec<String>> {
    docker_answers()?;
    let mut absent = Vec::new();
    for images in Images::all()? {
        if present(&images, false).is_none() {
            absent.extend(get(&images, false)?);
        }
    }
    Ok(absent)
}

/// Whether Docker answers.
pub(crate) fn docker_answers() -> Result {
    if process::works(Command::new("docker").arg("info")) {
        return Ok(());
    }
    Err("Docker does not answer: is it installed, and its daemon running?".to_owned())
}

fn parse(arguments: &[String]) -> Result<Arguments> {
    let mut parsed = Arguments::default();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--check" => parsed.check = true,
            "--stand-in" => parsed.stand_in = true,
            "--only" => match words.next() {
                Some(name) => parsed.only.push(name.clone()),
                None => return Err("--only needs the name of a service".to_owned()),
            },
            other => return Err(format!("unknown argument `{other}`")),
        }
    }
    Ok(parsed)
}

fn chosen(only: &[String]) -> Result<Vec<Images>> {
    let all = Images::all()?;
    if let Some(unknown) = only
        .iter()
        .find(|name| all.iter().all(|images| images.service != **name))
    {
        let known: Vec<&str> = all.iter().map(|images| images.service.as_str()).collect();
        return Err(format!(
            "no service `{unknown}`; there are {}",
            known.join(", ")
        ));
    }
    let wanted = |images: &Images| only.is_empty() || only.contains(&images.service);
    Ok(all.into_iter().filter(wanted).collect())
}

/// The image that Docker has already.
fn present(images: &Images, stand_in: bool) -> Option<String> {
    let inspect = |image: &str| {
        let mut command = Command::new("docker");
        command.args(["image", "inspect", image]);
        process::works(&mut command)
    };
    if !stand_in && inspect(&images.public) {
        return Some(images.public.clone());
    }
    let recipe = images.stand_in.as_ref().filter(|it| is_made(it))?;
    Some(recipe.image())
}

/// Whether Docker has the image of just this recipe.
fn is_made(recipe: &Recipe) -> bool {
    let label = format!("{{{{index .Config.Labels \"{LABEL}\"}}}}");
    let mut command = Command::new("docker");
    command.args(["image", "inspect", "--format", &label, &recipe.image()]);
    process::quiet_output(&mut command).is_some_and(|said| said.trim() == recipe.hash())
}

/// Pulls or makes an image; else says why there is none.
fn get(images: &Images, stand_in: bool) -> Result<Option<String>> {
    let mut pull = Command::new("docker");
    pull.args(["pull", &images.public]);
    if !stand_in && process::run(&mut pull).is_ok() {
        return Ok(None);
    }
    match &images.stand_in {
        Some(recipe) => build::build(recipe).map(|()| None),
        None => Ok(Some(format!(
            "{}: {} cannot be pulled, and no packages stand in for it",
            images.service, images.public
        ))),
    }
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
        assert!(parsed.check && !parsed.stand_in);
        assert_eq!(parsed.only, ["redis", "valkey"]);
        assert!(parse(&words("--only")).is_err());
        assert!(parse(&words("redis")).is_err_and(|error| error.contains("`redis`")));
    }

    #[test]
    fn an_unknown_service_is_answered_with_the_known_ones() {
        let message = chosen(&words("reddis")).expect_err("unknown");
        assert!(
            message.contains("`reddis`") && message.contains("valkey"),
            "{message}"
        );
        let chosen = chosen(&words("valkey")).expect("known");
        assert_eq!(chosen.len(), 1);
    }
}
