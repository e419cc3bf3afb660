//! One container, through testcontainers.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use futures::TryStreamExt;
use statehouse_contracts::{Error, ErrorKind, Result};
use testcontainers::bollard::container::LogOutput;
use testcontainers::bollard::exec::{StartExecOptions, StartExecResults};
use testcontainers::bollard::models::{ExecConfig, PortBinding};
use testcontainers::bollard::query_parameters::KillContainerOptionsBuilder;
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt};
use tokio::time::{Instant, sleep};

use crate::ports::{Published, fill};
use crate::reaper::Reaper;
use crate::source::docker;
use crate::table::{Files, Port, Service};

/// On every container of ours: which service it runs.
pub(crate) const SERVICE: &str = "statehouse.service";
/// On a container that stays when its process ends: where clients reach it.
pub(crate) const URL: &str = "statehouse.url";

const LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
const LOG_LINES: usize = 20;

/// What a container is made of.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) service: &'static Service,
    pub(crate) name: String,
    pub(crate) image: String,
    /// Added to the service's command.
    pub(crate) arguments: Vec<String>,
    /// Added to the service's files.
    pub(crate) files: Vec<Files>,
    /// Added to the service's environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// Added to the service's ports, the same inside as outside.
    pub(crate) more_ports: Vec<String>,
    /// What it logs when it is ready, if its clients cannot see that.
    pub(crate) says_ready: Option<String>,
    /// Where clients reach it.
    pub(crate) outside: Published,
    /// Where Docker publishes it: elsewhere, if a proxy is in between.
    pub(crate) hosts: Published,
    /// It stays when this process ends.
    pub(crate) kept: bool,
}

impl Plan {
    pub(crate) fn url(&self) -> String {
        fill(self.service.url(), &self.outside)
    }
}

pub(crate) struct Container {
    // Removed before its reaper is told to.
    inner: ContainerAsync<GenericImage>,
    _reaper: Option<Reaper>,
}

impl Container {
    pub(crate) async fn start(plan: &Plan) -> Result<Self> {
        let watch = || Reaper::watch(&plan.name);
        let reaper = (!plan.kept).then(watch).transpose()?;
        let inner = request(plan).start().await.map_err(failed)?;
        Ok(Self {
            inner,
            _reaper: reaper,
        })
    }

    /// Leaves it where it is.
    pub(crate) fn leave(self) {
        // Its destructor would remove it.
        std::mem::forget(self.inner);
    }

    /// SIGKILL; it is down on return.
    pub(crate) async fn kill(&self) -> Result<()> {
        let signal = KillContainerOptionsBuilder::new().signal("KILL").build();
        let killed = docker().await?;
        let killed = killed.kill_container(self.inner.id(), Some(signal)).await;
        killed.map_err(failed)?;
        self.is_down().await
    }

    /// SIGTERM, and SIGKILL if it does not end by itself; it is down on return.
    pub(crate) async fn stop(&self) -> Result<()> {
        let limit = i32::try_from(LIMIT.as_secs()).unwrap_or(i32::MAX);
        let stopped = self.inner.stop_with_timeout(Some(limit)).await;
        stopped.map_err(failed)
    }

    async fn is_down(&self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while self.inner.is_running().await.map_err(failed)? {
            if Instant::now() >= deadline {
                return Err(failed("it still runs"));
            }
            // sleep: the pause of a poll that has a deadline
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Starts it again, once Docker has let go of its ports.
    pub(crate) async fn restart(&self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            match self.inner.start().await.map_err(failed) {
                Err(error) if is_port_taken(&error) && Instant::now() < deadline => {}
                ended => return ended,
            }
            // sleep: the pause of a poll that has a deadline
            sleep(PAUSE).await;
        }
    }

    pub(crate) async fn pause(&self) -> Result<()> {
        self.inner.pause().await.map_err(failed)
    }

    pub(crate) async fn unpause(&self) -> Result<()> {
        self.inner.unpause().await.map_err(failed)
    }

    /// Runs a command inside: exit code, standard output, standard error.
    pub(crate) async fn exec(&self, command: Vec<String>) -> Result<(i64, Vec<u8>, Vec<u8>)> {
        let docker = docker().await?;
        let config = ExecConfig {
            cmd: Some(command),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let created = docker.create_exec(self.inner.id(), config).await;
        let id = created.map_err(failed)?.id;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let started = docker.start_exec(&id, None::<StartExecOptions>).await;
        if let StartExecResults::Attached { mut output, .. } = started.map_err(failed)? {
            while let Some(part) = output.try_next().await.map_err(failed)? {
                match part {
                    LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
                    other => stdout.extend_from_slice(&other.into_bytes()),
                }
            }
        }
        let ended = docker.inspect_exec(&id).await.map_err(failed)?;
        Ok((ended.exit_code.unwrap_or(-1), stdout, stderr))
    }

    /// All that it wrote.
    async fn written(&self) -> String {
        let (out, err) = tokio::join!(self.inner.stdout_to_vec(), self.inner.stderr_to_vec());
        let all = [out.unwrap_or_default(), err.unwrap_or_default()].concat();
        String::from_utf8_lossy(&all).into_owned()
    }

    /// How often it has written `text`.
    pub(crate) async fn says(&self, text: &str) -> usize {
        self.written().await.matches(text).count()
    }

    /// The last lines that it wrote.
    pub(crate) async fn log(&self) -> String {
        let text = self.written().await;
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Container({})", self.inner.id())
    }
}

fn request(plan: &Plan) -> ContainerRequest<GenericImage> {
    let service = plan.service;
    let filled = |text: &String| fill(text, &plan.outside);
    let (name, tag) = name_and_tag(&plan.image);
    let mut image = GenericImage::new(name, tag);
    if let Some(entrypoint) = service.entrypoint() {
        image = image.with_entrypoint(entrypoint);
    }
    let command = service.command().iter().chain(&plan.arguments);
    let mut request = image
        .with_cmd(command.map(filled))
        .with_container_name(&plan.name)
        .with_label(SERVICE, service.name())
        .with_startup_timeout(Duration::from_secs(600));
    if plan.kept {
        request = request.with_label(URL, plan.url());
    }
    for (name, value) in service.environment().iter().chain(&plan.environment) {
        request = request.with_env_var(name, filled(value));
    }
    for file in service.files().iter().chain(&plan.files) {
        request = request.with_copy_to(file.path.clone(), filled(&file.text).into_bytes());
    }
    let pairs = port_pairs(plan);
    for (host, inside) in &pairs {
        request = request.with_mapped_port(*host, inside.tcp());
    }
    // Published on the loopback interface alone.
    request.with_host_config_modifier(move |host| host.port_bindings = Some(bindings(&pairs)))
}

/// Where each port is published, and where it is inside.
fn port_pairs(plan: &Plan) -> Vec<(u16, u16)> {
    let of =
        |published: &Published, name: &String| published.get(name).copied().unwrap_or_default();
    let ports = plan.service.ports().iter().map(|(name, port)| match port {
        Port::At(inside) => (of(&plan.hosts, name), *inside),
        Port::As(_) => (of(&plan.hosts, name), of(&plan.outside, name)),
    });
    let more = plan.more_ports.iter();
    let more = more.map(|name| (of(&plan.hosts, name), of(&plan.outside, name)));
    ports.chain(more).collect()
}

fn bindings(pairs: &[(u16, u16)]) -> HashMap<String, Option<Vec<PortBinding>>> {
    let bind = |(host, inside): &(u16, u16)| {
        let binding = PortBinding {
            host_ip: Some("127.0.0.1".to_owned()),
            host_port: Some(host.to_string()),
        };
        (format!("{inside}/tcp"), Some(vec![binding]))
    };
    pairs.iter().map(bind).collect()
}

/// A colon before a slash belongs to a registry's address.
fn name_and_tag(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

fn failed(error: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Unavailable, format!("container: {error}"))
}

/// Somebody else took it between our choice and Docker's start.
pub(crate) fn is_port_taken(error: &Error) -> bool {
    let text = error.to_string();
    text.contains("port is already allocated") || text.contains("address already in use")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_a_name_and_a_tag() {
        let table = [
            ("redis:7.0.15", ("redis", "7.0.15")),
            ("host:5000/redis", ("host:5000/redis", "latest")),
            ("host:5000/redis:7", ("host:5000/redis", "7")),
        ];
        for (image, expected) in table {
            assert_eq!(name_and_tag(image), expected);
        }
    }
}
