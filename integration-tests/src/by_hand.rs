//! Servers that stay until somebody takes them down.

use std::collections::HashMap;
use std::io::Write;

use statehouse_contracts::{Error, Result};
use testcontainers::bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
};

use crate::background;
use crate::container::{SERVICE, URL};
use crate::options::Options;
use crate::source::docker;
use crate::table::Service;

const USAGE: &str = "services up|down|status [NAME…]";

/// What a service's server does by hand.
#[derive(Debug)]
enum State {
    Up(String),
    Stopped,
    Down,
}

/// `up`, `down` or `status`, and the services meant: by default all that can be had.
///
/// # Errors
/// Those of Docker, and those of arguments that make no sense.
pub fn main(arguments: &[String], out: &mut dyn Write) -> Result<()> {
    let (command, names) = arguments
        .split_first()
        .ok_or_else(|| Error::invalid(USAGE))?;
    let services = meant(names)?;
    for service in services {
        let line = match command.as_str() {
            "up" => background::wait(up(service, !names.is_empty()))?,
            "down" => background::wait(down(service))?,
            "status" => background::wait(status(service))?,
            _ => return Err(Error::invalid(USAGE)),
        };
        writeln!(out, "{line}").map_err(|error| Error::internal(error.to_string()))?;
    }
    Ok(())
}

fn meant(names: &[String]) -> Result<Vec<&'static Service>> {
    if names.is_empty() {
        return Ok(Service::all()?.iter().collect());
    }
    names.iter().map(|name| Service::named(name)).collect()
}

/// Starts it, unless it runs. Lines are fit for a shell to read.
async fn up(service: &'static Service, required: bool) -> Result<String> {
    if let State::Up(url) = state(service).await? {
        return Ok(export(service, &url));
    }
    remove(service).await?;
    match service.image_here().await {
        Err(absent) if !required => Ok(format!("# {}: {absent}", service.name())),
        _ => {
            let options = Options::new(service).kept_as(container(service));
            let server = options.start().await?;
            let line = export(service, server.url());
            server.leave();
            Ok(line)
        }
    }
}

async fn down(service: &'static Service) -> Result<String> {
    let removed = remove(service).await?;
    let what = if removed { "removed" } else { "was not there" };
    Ok(format!("# {}: {what}", service.name()))
}

async fn status(service: &'static Service) -> Result<String> {
    Ok(match state(service).await? {
        State::Up(url) => export(service, &url),
        State::Stopped => format!("# {}: stopped", service.name()),
        State::Down => match service.image_here().await {
            Ok(image) => format!("# {}: down; would run {image}", service.name()),
            Err(absent) => format!("# {}: {absent}", service.name()),
        },
    })
}

fn export(service: &Service, url: &str) -> String {
    format!("export {}={url}", service.variable("URL"))
}

fn container(service: &Service) -> String {
    format!("statehouse-{}", service.name())
}

async fn state(service: &Service) -> Result<State> {
    let Some(found) = find(service).await? else {
        return Ok(State::Down);
    };
    let url = found.labels.and_then(|mut labels| labels.remove(URL));
    let running = found.state == Some(ContainerSummaryStateEnum::RUNNING);
    Ok(match url {
        Some(url) if running => State::Up(url),
        _ => State::Stopped,
    })
}

async fn find(service: &Service) -> Result<Option<ContainerSummary>> {
    let labels = vec![format!("{SERVICE}={}", service.name()), URL.to_owned()];
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&HashMap::from([("label", labels)]))
        .build();
    let found = docker().await?.list_containers(Some(options)).await;
    let found = found.map_err(|error| Error::internal(error.to_string()))?;
    Ok(found.into_iter().next())
}

async fn remove(service: &Service) -> Result<bool> {
    let Some(id) = find(service).await?.and_then(|found| found.id) else {
        return Ok(false);
    };
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true);
    let removed = docker()
        .await?
        .remove_container(&id, Some(options.build()))
        .await;
    removed.map_err(|error| Error::internal(error.to_string()))?;
    Ok(true)
}
