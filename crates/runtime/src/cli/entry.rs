//! From the command line to a command, and from its outcome to an exit code.

use std::future::Future;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use statehouse_config::{Config, Environment, Loaded, Override, Sources, load};
use statehouse_contracts::{Endpoint, Error, ErrorKind, Namespace, Principal, Result, Scope};
use statehouse_service::Backends;

use super::args::{Cli, Command, Common, DeskCommand, Serve};
use super::{Desk, Output, config, doctor, exit, replay};
use crate::adapters;

/// Where the token for `--url` is looked for.
const TOKEN: &str = "STATEHOUSE_TOKEN";

/// Runs what the command line of this process says. `serve` runs the service.
pub fn run<S, F>(serve: S) -> ExitCode
where
    S: FnOnce(Config) -> F,
    F: Future<Output = Result<()>>,
{
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return mistyped(&error),
    };
    let json = cli.common.json;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(command(cli, serve)),
        Err(error) => Err(Error::internal("no threads can be started").with_source(error)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output has gone, as with `| head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error, json);
            ExitCode::from(exit::code(error.kind()))
        }
    }
}

async fn command<S, F>(cli: Cli, serve: S) -> Result<()>
where
    S: FnOnce(Config) -> F,
    F: Future<Output = Result<()>>,
{
    let Cli { common, command } = cli;
    let output = Output::new(common.json);
    match command {
        Command::Serve(flags) => {
            let loaded = configuration(&common, serve_flags(&flags))?;
            let cache = config::shared_cache(&loaded);
            config::check_backends(&loaded, cache, &adapters::registry())?;
            serve(loaded.config).await
        }
        Command::Desk(command) => at_desk(&common, &output, DeskWork::Command(command)).await,
        Command::Replay(command) => at_desk(&common, &output, DeskWork::Replay(command)).await,
        Command::Doctor => at_desk(&common, &output, DeskWork::Doctor).await,
        Command::Config(command) => {
            let environment = Environment::of_process();
            config::run(
                command,
                &sources(&common, Vec::new())?,
                &environment,
                &output,
            )
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "statehouse", &mut script);
            output.raw(&script)
        }
        Command::Man { out } => {
            let written = std::fs::create_dir_all(&out)
                .and_then(|()| clap_mangen::generate_to(Cli::command(), &out));
            written.map_err(|error| {
                let message = format!(
                    "the manual cannot be written into {}: {error}",
                    out.display()
                );
                Error::new(ErrorKind::PermissionDenied, message)
            })
        }
    }
}

enum DeskWork {
    Command(DeskCommand),
    Replay(super::args::Replay),
    Doctor,
}

/// Opens the desk, does the work until it is done or interrupted, and closes what was opened.
async fn at_desk(common: &Common, output: &Output, work: DeskWork) -> Result<()> {
    let loaded = configuration(common, Vec::new())?;
    let scope = scope(common, &loaded.config)?;
    let opened = Opened::open(common, &loaded, scope).await?;
    let done = tokio::select! {
        done = do_work(work, &opened.desk, output) => done,
        _ = tokio::signal::ctrl_c() => {
            opened.close().await?;
            std::process::exit(130);
        }
    };
    opened.close().await?;
    done
}

async fn do_work(work: DeskWork, desk: &Desk, output: &Output) -> Result<()> {
    match work {
        DeskWork::Command(command) => super::run(command, desk, output).await,
        DeskWork::Replay(command) => replay::run(command, desk, output).await,
        DeskWork::Doctor => doctor::run(desk, output).await,
    }
}

/// A desk, and the backends that were opened for it.
struct Opened {
    desk: Desk,
    backends: Option<Backends>,
}

impl Opened {
    async fn open(common: &Common, loaded: &Loaded, scope: Scope) -> Result<Self> {
        let (registry, config) = (adapters::registry(), &loaded.config);
        if let Some(url) = &common.url {
            let mut endpoint = Endpoint::parse(url)?;
            if std::env::var_os(TOKEN).is_some() {
                endpoint = endpoint.with_default("token_env", TOKEN);
            }
            let service = registry.open(&endpoint).await?;
            let desk = Desk::of_service(statehouse_layers::guard(service), endpoint, scope, config);
            return Ok(Self {
                desk,
                backends: None,
            });
        }
        config::check_backends(loaded, None, &registry)?;
        let backends = Backends::open(config, &registry).await?;
        let desk = Desk::of_backends(backends.clone(), scope, config);
        Ok(Self {
            desk,
            backends: Some(backends),
        })
    }

    async fn close(self) -> Result<()> {
        match self.backends {
            Some(backends) => backends.close().await,
            None => Ok(()),
        }
    }
}

fn scope(common: &Common, config: &Config) -> Result<Scope> {
    let namespace: Namespace = common
        .namespace
        .clone()
        .unwrap_or_else(|| config.namespaces.default.clone());
    let principal = match &common.principal {
        Some(principal) => principal.clone(),
        None => Principal::new("cli")?,
    };
    Ok(Scope::new(namespace, principal))
}

fn configuration(common: &Common, flags: Vec<Override>) -> Result<Loaded> {
    Ok(load(&sources(common, flags)?)?)
}

fn sources(common: &Common, flags: Vec<Override>) -> Result<Sources> {
    let mut overrides = Vec::new();
    for set in &common.set {
        let (key, value) = set.split_once('=').ok_or_else(|| {
            Error::invalid(format!("--set {set} has no =; write --set KEY=VALUE, such as --set server.listen=127.0.0.1:8000"))
        })?;
        overrides.push(Override::new(key, value, format!("--set {key}")));
    }
    overrides.extend(flags);
    let directory = std::env::current_dir().map_err(|error| {
        Error::new(
            ErrorKind::PermissionDenied,
            format!("the working directory cannot be used: {error}"),
        )
    })?;
    let environment = Environment::of_process();
    Ok(Sources {
        file: common.config.clone(),
        directory,
        environment,
        overrides,
    })
}

fn serve_flags(flags: &Serve) -> Vec<Override> {
    let listen = flags
        .listen
        .iter()
        .map(|value| Override::new("server.listen", value, "--listen"));
    let backend = flags
        .backend
        .iter()
        .map(|value| Override::new("backends.default", value, "--backend"));
    listen.chain(backend).collect()
}

/// Tells what is wrong with the command line, or prints the help that was asked for.
fn mistyped(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || !std::env::args_os().any(|argument| argument == "--json") {
        error.exit();
    }
    let text = error.to_string();
    let told = text.split("\n\nUsage:").next().unwrap_or_default();
    let told = told.split("\n\nFor more").next().unwrap_or_default();
    let words: Vec<&str> = told.split_whitespace().collect();
    let line = words.join(" ");
    let error = Error::invalid(line.trim_start_matches("error: ").to_owned());
    report(&error, true);
    ExitCode::from(exit::code(error.kind()))
}

fn is_broken_pipe(error: &Error) -> bool {
    error.kind() == ErrorKind::Closed
        && error
            .context()
            .iter()
            .any(|(name, _)| *name == "standard output")
}

/// Tells what went wrong: on one line for people, as a problem document for programs.
fn report(error: &Error, json: bool) {
    use std::io::Write;
    let document = statehouse_wire::ErrorDocument::from(error);
    let line = match serde_json::to_string(&document) {
        Ok(line) if json => line,
        _ => format!("statehouse: {error}"),
    };
    // There is nowhere left to say that standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}
