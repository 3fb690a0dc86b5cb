//! Which programs play the roles, and having them built.
//!
//! Every role can be played by Redis's own program, which is how the harness itself is
//! proved, and how a peer is measured under the same conditions.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{LabError, Result};

/// Overrides the program of the data nodes.
pub const NODE_ENV: &str = "REDOUBT_NODE_BIN";
/// Overrides the program of the Sentinels.
pub const SENTINEL_ENV: &str = "REDOUBT_SENTINEL_BIN";

const NODE: &str = "redoubt-node";
const SENTINEL: &str = "redoubt-sentinel";
const VIP_HOOK: &str = "redoubt-vip-hook";
const BARE_LOOP: &str = "bare-loop";

/// The programs of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// Runs as data node: takes `FILE` or Redis's command-line options.
    pub node: PathBuf,
    /// Runs as Sentinel: takes `FILE`.
    pub sentinel: PathBuf,
}

impl Binaries {
    /// What was asked for, else what the environment says, else the programs beside our own.
    pub fn locate(node: Option<PathBuf>, sentinel: Option<PathBuf>) -> Result<Binaries> {
        Ok(Binaries {
            node: choose(node, NODE_ENV, NODE)?,
            sentinel: choose(sentinel, SENTINEL_ENV, SENTINEL)?,
        })
    }

    /// As `locate`, and has cargo bring the programs that lie beside our own up to date if
    /// we were started by `cargo run`. Cargo shows its progress.
    pub fn locate_and_build(node: Option<PathBuf>, sentinel: Option<PathBuf>) -> Result<Binaries> {
        let binaries = Binaries::locate(node, sentinel)?;
        let dir = own_dir()?;
        let stale: Vec<&str> = [(&binaries.node, NODE), (&binaries.sentinel, SENTINEL)]
            .into_iter()
            .filter(|(path, name)| **path == dir.join(name))
            .map(|(_, name)| name)
            .collect();
        build(&stale, &dir)?;
        Ok(binaries)
    }

    /// Redis's own programs, from the search path.
    pub fn redis() -> Result<Binaries> {
        let find = |name| {
            find_in_path(name).ok_or_else(|| {
                LabError::Other(format!(
                    "{name} is not installed: `apt-get install redis-server redis-sentinel`"
                ))
            })
        };
        Ok(Binaries { node: find("redis-server")?, sentinel: find("redis-sentinel")? })
    }
}

/// The program that moves virtual addresses, beside our own.
pub fn vip_hook() -> Result<PathBuf> {
    Ok(own_dir()?.join(VIP_HOOK))
}

/// What was asked for in its place, or itself, brought up to date as by [`Binaries::locate_and_build`].
pub fn vip_hook_built(asked: Option<PathBuf>) -> Result<PathBuf> {
    match asked {
        Some(path) => std::path::absolute(&path).map_err(LabError::file("resolve", &path)),
        None => {
            build(&[VIP_HOOK], &own_dir()?)?;
            vip_hook()
        }
    }
}

/// The program of the lab's own that answers with constants, brought up to date as by [`Binaries::locate_and_build`].
pub fn bare_loop() -> Result<PathBuf> {
    let dir = own_dir()?;
    build(&[BARE_LOOP], &dir)?;
    Ok(dir.join(BARE_LOOP))
}

/// Whether `program` is of this project; others are held to Redis's texts only.
pub fn is_ours(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("redoubt"))
}

/// The first executable of that name on the search path.
pub fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| candidate.is_file())
}

fn choose(asked: Option<PathBuf>, env: &str, name: &str) -> Result<PathBuf> {
    let path = match asked.or_else(|| std::env::var_os(env).map(PathBuf::from)) {
        // A bare name means the search path, as in a shell.
        Some(path) if path.components().count() == 1 && !path.is_file() => {
            path.to_str().and_then(find_in_path).ok_or_else(|| {
                LabError::Other(format!("there is no program {} on the search path", path.display()))
            })?
        }
        Some(path) => path,
        None => return Ok(own_dir()?.join(name)),
    };
    // Servers run in directories of their own; absolute, but with symbolic links as they are, since
    // Redis decides by its name whether it is a Sentinel.
    std::path::absolute(&path).map_err(LabError::file("resolve", &path))
}

/// The folder that holds the programs: `target/<profile>`.
fn own_dir() -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(LabError::io("cannot find the lab's own executable"))?;
    let dir = own.parent().unwrap_or(Path::new("/"));
    Ok(if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir }.to_path_buf())
}

/// Has cargo bring programs in `dir` up to date, if it was cargo that started us.
fn build(names: &[&str], dir: &Path) -> Result<()> {
    if names.is_empty() || std::env::var_os("CARGO").is_none() {
        return Ok(());
    }
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map(|package| Path::new(&package).with_file_name("Cargo.toml"))
        .ok_or_else(|| LabError::Other("CARGO is set, but CARGO_MANIFEST_DIR is not".into()))?;
    let profile = match dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.arg("build").arg("--profile").arg(profile).arg("--manifest-path").arg(&manifest);
    for name in names {
        command.arg("--bin").arg(name);
    }
    eprintln!("building {} (profile {profile}) ...", names.join(" and "));
    let status = command.status().map_err(LabError::io("cannot start cargo"))?;
    if !status.success() {
        return Err(LabError::Other(format!(
            "{} could not be built; mend that, or name other programs with --node-bin and --sentinel-bin",
            names.join(" and ")
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_lie_beside_our_own_executable() {
        let dir = own_dir().unwrap();
        assert!(!dir.ends_with("deps"), "{}", dir.display());
        assert_eq!(choose(None, "REDOUBT_NO_SUCH_VARIABLE", NODE).unwrap(), dir.join(NODE));
    }

    #[test]
    fn a_bare_name_is_looked_up_and_its_absence_named() {
        let found = choose(Some("sh".into()), "REDOUBT_NO_SUCH_VARIABLE", NODE).unwrap();
        assert!(found.is_absolute() && found.ends_with("sh"));
        let error = choose(Some("no-such-program".into()), "REDOUBT_NO_SUCH_VARIABLE", NODE).unwrap_err();
        assert!(error.to_string().contains("no-such-program"));
    }
}
