//! Where the interpreters and packages are that tests/run prepares under target/.

use std::path::{Path, PathBuf};

/// `target/<name>`, or what the environment variable `override_by` names.
fn prepared(name: &str, override_by: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let default = own.ancestors().nth(3).map(|target| target.join(name));
    std::env::var_os(override_by).map(PathBuf::from).or(default).unwrap()
}

/// Python, with the redis package.
pub fn python() -> PathBuf {
    let chosen = prepared("venv/bin/python", "REDOUBT_TEST_PYTHON");
    assert!(chosen.is_file(), "there is no {}: run tests/run, which prepares it", chosen.display());
    chosen
}

/// The folder of packages for Node.js that holds ioredis.
#[allow(dead_code)] // Not every test that includes this module runs Node.js.
pub fn node_modules() -> PathBuf {
    let chosen = prepared("npm/node_modules", "REDOUBT_TEST_NODE_MODULES");
    let package = chosen.join("ioredis");
    assert!(package.is_dir(), "there is no {}: run tests/run, which prepares it", package.display());
    chosen
}

/// A script that lies in a folder beside the tests.
pub fn script(language: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(language).join(name)
}
