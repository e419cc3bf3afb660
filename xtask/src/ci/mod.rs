//! `cargo xtask ci`: what CI runs, step by step, ending with the first failure.

mod steps;

use std::time::{Duration, Instant};

use crate::process::Result;
use crate::{readme, tidy};

/// How a step ended well.
#[derive(Debug)]
pub(crate) enum Outcome {
    Passed,
    /// All that can be had here; what cannot is no fault of the tree.
    Partly(String),
    /// Something it needs is not here; never because the tree lacks something.
    Skipped(String),
}

#[derive(Debug)]
struct Step {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<Outcome>,
}

/// Cheap ones first. `test` is last: the run ends with the test runner's own closing lines.
const STEPS: &[Step] = &[
    Step {
        name: "tidy",
        about: "the house rules",
        run: || passed(tidy::main()),
    },
    Step {
        name: "fmt",
        about: "rustfmt changes nothing",
        run: steps::fmt,
    },
    Step {
        name: "deny",
        about: "bans, licences and sources of dependencies",
        run: steps::deny,
    },
    Step {
        name: "advisories",
        about: "known vulnerabilities",
        run: steps::advisories,
    },
    Step {
        name: "images",
        about: "images of the servers that tests run on",
        run: steps::images,
    },
    Step {
        name: "clippy",
        about: "no warning in any target, all features",
        run: steps::clippy,
    },
    Step {
        name: "features",
        about: "each feature alone, and none",
        run: steps::features,
    },
    Step {
        name: "docs",
        about: "the documentation builds without a warning",
        run: steps::docs,
    },
    Step {
        name: "examples",
        about: "each example runs",
        run: steps::examples,
    },
    Step {
        name: "readme",
        about: "README's commands and sessions",
        run: || passed(readme()),
    },
    Step {
        name: "replay",
        about: "recorded runs go through the stack",
        run: steps::replay,
    },
    Step {
        name: "test",
        about: "every test and doctest",
        run: steps::test,
    },
];

/// `cargo xtask ci [STEP…]`
pub(crate) fn main(arguments: &[String]) -> Result {
    if arguments.iter().any(|argument| argument == "--list") {
        STEPS
            .iter()
            .for_each(|step| eprintln!("{:<12}{}", step.name, step.about));
        return Ok(());
    }
    run(&chosen(arguments)?)
}

fn chosen(names: &[String]) -> Result<Vec<&'static Step>> {
    if let Some(unknown) = names
        .iter()
        .find(|name| STEPS.iter().all(|step| step.name != **name))
    {
        let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        return Err(format!(
            "no step `{unknown}`; the steps are {}",
            known.join(", ")
        ));
    }
    let wanted = |step: &&Step| names.is_empty() || names.iter().any(|name| name == step.name);
    Ok(STEPS.iter().filter(wanted).collect())
}

fn run(steps: &[&Step]) -> Result {
    let mut done: Vec<String> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        // Before the last step, which has the last word.
        if index > 0 && index + 1 == steps.len() {
            eprintln!("\n{}", done.join("\n"));
        }
        eprintln!(
            "\n=== {} ({}/{}): {}",
            step.name,
            index + 1,
            steps.len(),
            step.about
        );
        let begun = Instant::now();
        match (step.run)() {
            Ok(outcome) => done.push(line(step.name, &outcome, begun.elapsed())),
            Err(message) => {
                let seconds = begun.elapsed().as_secs_f64();
                return Err(format!(
                    "{message}\n\nci: step `{}` FAILED ({seconds:.1} s)",
                    step.name
                ));
            }
        }
    }
    if steps.last().is_some_and(|step| step.name != "test") {
        eprintln!("\n{}", done.join("\n"));
    }
    Ok(())
}

fn line(name: &str, outcome: &Outcome, took: Duration) -> String {
    match outcome {
        Outcome::Passed => format!("ci: {name:<12}ok {:>8.1} s", took.as_secs_f64()),
        Outcome::Partly(what) => format!("ci: {name:<12}PARTLY: {what}"),
        Outcome::Skipped(why) => format!("ci: {name:<12}SKIPPED: {why}"),
    }
}

fn passed(result: Result) -> Result<Outcome> {
    result.map(|()| Outcome::Passed)
}

fn readme() -> Result {
    readme::check_adapter_table()?;
    readme::run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_run_in_the_order_of_the_list() {
        let names = |arguments: &[&str]| -> Result<Vec<&str>> {
            let arguments: Vec<String> = arguments.iter().map(|name| (*name).to_owned()).collect();
            Ok(chosen(&arguments)?.iter().map(|step| step.name).collect())
        };
        assert_eq!(names(&["docs", "fmt"]), Ok(vec!["fmt", "docs"]));
        assert_eq!(names(&[]).map(|names| names.len()), Ok(STEPS.len()));
        assert_eq!(
            names(&[]).map(|names| names.last().copied()),
            Ok(Some("test"))
        );
        let message = names(&["format"]).expect_err("unknown");
        assert!(
            message.contains("`format`") && message.contains("fmt"),
            "{message}"
        );
    }

    #[test]
    fn the_first_failure_ends_the_run_and_is_named() {
        let good = Step {
            name: "good",
            about: "",
            run: || Ok(Outcome::Passed),
        };
        let bad = Step {
            name: "bad",
            about: "",
            run: || Err("broken".to_owned()),
        };
        let never = Step {
            name: "never",
            about: "",
            run: || Err("not reached".to_owned()),
        };
        let message = run(&[&good, &bad, &never]).expect_err("it fails");
        assert!(message.starts_with("broken\n"), "{message}");
        assert!(message.contains("step `bad` FAILED"), "{message}");
        assert_eq!(run(&[&good]), Ok(()));
    }

    #[test]
    fn a_skipped_step_is_seen() {
        let skipped = Outcome::Skipped("no network".to_owned());
        let text = line("advisories", &skipped, Duration::ZERO);
        assert_eq!(text, "ci: advisories  SKIPPED: no network");
        let partly = Outcome::Partly("no image of x".to_owned());
        let text = line("images", &partly, Duration::ZERO);
        assert_eq!(text, "ci: images      PARTLY: no image of x");
    }
}
