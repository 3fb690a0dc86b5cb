//! What `make install` puts under a root: programs, units, snippets and configuration, as systemd's own tools
//! judge them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use redoubt_lab::scratch::Scratch;

/// The services, and what `systemd-analyze security` may find of them at most, in tenths. The agent changes the machine's
/// addresses and sends raw frames, which counts for a part of its own.
const EXPOSURE: [(&str, &str); 3] = [
    ("redoubt-node@6379.service", "20"),
    ("redoubt-sentinel.service", "20"),
    ("redoubt-vip-agent.service", "25"),
];
/// What does not run by itself.
const SOCKET: &str = "redoubt-vip-agent.socket";

fn scratch() -> Scratch {
    Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The folder of the programs of this build: `target/<profile>`.
fn programs() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_path_buf()
}

/// Runs `make TARGET` for the root, as whoever builds a package does.
fn make(target: &str, root: &Path, more: &[&str]) -> Output {
    Command::new("make")
        .arg("-C")
        .arg(sources())
        .args(["--no-print-directory", target])
        .arg(format!("DESTDIR={}", root.display()))
        .arg(format!("BUILD={}", programs().display()))
        .args(more)
        .output()
        .unwrap()
}

#[track_caller]
fn makes(target: &str, root: &Path, more: &[&str]) -> String {
    let output = make(target, root, more);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The files under `root`, by their paths in it.
fn files(root: &Path) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    files
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn with_make_everything_is_installed_and_configuration_is_never_overwritten() {
    let scratch = scratch();
    let root = scratch.path().join("root");
    makes("install", &root, &["PREFIX=/usr"]);
    let installed = files(&root);
    for file in [
        "usr/bin/redoubt-node",
        "usr/bin/redoubt-sentinel",
        "usr/bin/redoubt-vip-hook",
        "usr/lib/systemd/system/redoubt-node@.service",
        "usr/lib/systemd/system/redoubt-sentinel.service",
        "usr/lib/systemd/system/redoubt-vip-agent.service",
        "usr/lib/systemd/system/redoubt-vip-agent.socket",
        "usr/lib/sysusers.d/redoubt.conf",
        "usr/lib/tmpfiles.d/redoubt.conf",
        "usr/share/doc/redoubt/systemd.md",
        "usr/share/doc/redoubt/examples/node-6379.conf",
        "usr/share/doc/redoubt/examples/vip-hook.yaml",
        "usr/share/doc/redoubt/examples/keep-vip.network.conf",
        "etc/redoubt/node-6379.conf",
        "etc/redoubt/sentinel.conf",
    ] {
        assert!(installed.contains(file), "{file} is not in {installed:?}");
    }
    assert_eq!(mode(&root.join("usr/bin/redoubt-node")), 0o755);
    assert_eq!(mode(&root.join("usr/lib/systemd/system/redoubt-sentinel.service")), 0o644);
    assert_eq!(mode(&root.join("etc/redoubt/sentinel.conf")), 0o640);
    for program in ["redoubt-sentinel", "redoubt-vip-hook"] {
        let says = Command::new(root.join("usr/bin").join(program)).arg("--version").output().unwrap();
        assert!(says.status.success(), "{program}");
    }

    let own = "# mine\nport 7000\n";
    fs::write(root.join("etc/redoubt/node-6379.conf"), own).unwrap();
    fs::set_permissions(root.join("etc/redoubt"), fs::Permissions::from_mode(0o1775)).unwrap();
    fs::remove_file(root.join("usr/bin/redoubt-node")).unwrap();
    let again = makes("install", &root, &["PREFIX=/usr"]);
    assert!(again.contains("node-6379.conf is kept as it is"), "{again}");
    assert_eq!(fs::read_to_string(root.join("etc/redoubt/node-6379.conf")).unwrap(), own);
    assert_eq!(files(&root), installed);
    assert_eq!(mode(&root.join("etc/redoubt")), 0o1775, "the programs can still write there");

    makes("uninstall", &root, &["PREFIX=/usr"]);
    let left: Vec<String> = files(&root).into_iter().collect();
    assert_eq!(left, ["etc/redoubt/node-6379.conf", "etc/redoubt/sentinel.conf"]);
}

#[test]
fn with_make_the_units_name_the_paths_of_the_installation() {
    let scratch = scratch();
    let root = scratch.path().join("root");
    makes("install", &root, &["PREFIX=/opt/redoubt", "SYSCONFDIR=/opt/etc"]);
    let units = root.join("opt/redoubt/lib/systemd/system");
    for name in ["redoubt-node@.service", "redoubt-sentinel.service"] {
        let unit = fs::read_to_string(units.join(name)).unwrap();
        assert!(unit.contains("ExecStart=/opt/redoubt/bin/redoubt-"), "{unit}");
        assert!(unit.contains("ReadWritePaths=/opt/etc/redoubt\n"), "{unit}");
        assert!(!unit.contains("/usr/bin") && !unit.contains(" /etc/"), "{unit}");
    }
    let unit = fs::read_to_string(units.join("redoubt-vip-agent.service")).unwrap();
    let start =
        "\nExecStart=/opt/redoubt/bin/redoubt-vip-hook agent --config /opt/etc/redoubt/vip-hook.yaml\n";
    assert!(
        unit.contains(start) && unit.contains("\nConditionPathExists=/opt/etc/redoubt/vip-hook.yaml\n"),
        "{unit}"
    );
    let socket = fs::read_to_string(units.join(SOCKET)).unwrap();
    assert!(socket.contains("\nConditionPathExists=/opt/etc/redoubt/vip-hook.yaml\n"), "{socket}");
    let snippet = fs::read_to_string(root.join("opt/redoubt/lib/tmpfiles.d/redoubt.conf")).unwrap();
    assert!(snippet.contains("\nd /opt/etc/redoubt ") && !snippet.contains(" /etc/"), "{snippet}");
}

#[test]
fn with_make_programs_that_were_not_built_are_named() {
    let scratch = scratch();
    let root = scratch.path().join("root");
    let nowhere = format!("BUILD={}", scratch.path().display());
    let output = make("install", &root, &[&nowhere]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("/redoubt-node: run 'make' first"), "{text}");
    assert!(!root.exists(), "nothing is half installed");
}

/// The units, each service with a program that is there.
fn units(scratch: &Scratch) -> Vec<PathBuf> {
    let folder = scratch.subdir("units").unwrap();
    let mut units = Vec::new();
    for entry in fs::read_dir(sources().join("configs/systemd")).unwrap() {
        let path = entry.unwrap().path();
        if !path.extension().is_some_and(|ending| ending == "service" || ending == "socket") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        // A template is judged by an instance of it.
        let name = path.file_name().unwrap().to_str().unwrap().replace("@.", "@6379.");
        let program = text.lines().find_map(|line| line.strip_prefix("ExecStart=")?.split(' ').next());
        let text = program.map_or(text.clone(), |program| text.replace(program, "/bin/true"));
        let unit = folder.join(name);
        fs::write(&unit, text).unwrap();
        units.push(unit);
    }
    let names: BTreeSet<&str> = units.iter().map(|unit| name_of(unit)).collect();
    let expected = EXPOSURE.iter().map(|(service, _)| *service).chain([SOCKET]).collect();
    assert_eq!(names, expected);
    units
}

fn name_of(unit: &Path) -> &str {
    unit.file_name().unwrap().to_str().unwrap()
}

#[test]
fn with_systemd_analyze_the_units_are_sound() {
    let scratch = scratch();
    let units = units(&scratch);
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(&units)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    // What it says of the machine's own units is not about ours.
    let ours: Vec<&str> = text.lines().filter(|line| line.contains("redoubt")).collect();
    assert!(output.status.success() && ours.is_empty(), "{text}");
}

#[test]
fn with_systemd_analyze_a_mistake_in_a_unit_would_be_found() {
    let scratch = scratch();
    let units = units(&scratch);
    for (name, right, wrong) in [
        ("redoubt-node@6379.service", "RestartSec=10s", "RestartSec=soon"),
        ("redoubt-sentinel.service", "RestartSec=1s", "RestartSec=soon"),
        ("redoubt-vip-agent.service", "WatchdogSec=5s", "WatchdogSec=soon"),
        (SOCKET, "SocketMode=0660", "SocketMode=ours"),
    ] {
        let unit = units.iter().find(|unit| name_of(unit) == name).unwrap();
        let text = fs::read_to_string(unit).unwrap();
        assert!(text.contains(&format!("\n{right}\n")), "{text}");
        fs::write(unit, text.replace(right, wrong)).unwrap();
        let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(unit).output().unwrap();
        let says = String::from_utf8_lossy(&output.stderr);
        let word = wrong.split_once('=').unwrap().1;
        assert!(says.lines().any(|line| line.contains(name) && line.contains(word)), "{says}");
        fs::write(unit, text).unwrap();
    }
}

#[test]
fn with_systemd_analyze_the_services_are_confined() {
    let scratch = scratch();
    for unit in &units(&scratch) {
        let Some((_, most)) = EXPOSURE.iter().find(|(service, _)| *service == name_of(unit)) else {
            continue;
        };
        let output = Command::new("systemd-analyze")
            .args(["security", "--no-pager", "--offline=true", "--threshold", most])
            .arg(unit)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("Overall exposure level"), "{text}");
    }
}

/// The users come from the one snippet, what belongs to them from the other.
#[test]
fn with_systemd_analyze_users_and_folders_are_made() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let scratch = scratch();
    let root = scratch.path().join("root");
    makes("install", &root, &["PREFIX=/usr"]);
    fs::write(root.join("etc/redoubt/vip-hook.yaml"), "").unwrap();
    for tool in [&["systemd-sysusers"][..], &["systemd-tmpfiles", "--create"]] {
        let output = Command::new(tool[0])
            .args(&tool[1..])
            .arg(format!("--root={}", root.display()))
            .arg("redoubt.conf")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let passwd = fs::read_to_string(root.join("etc/passwd")).unwrap();
    let group = fs::read_to_string(root.join("etc/group")).unwrap();
    let id = |file: &str, name: &str| -> u32 {
        let line = file.lines().find(|line| line.split(':').next() == Some(name));
        line.and_then(|line| line.split(':').nth(2)?.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {file}"))
    };
    let (uid, gid) = (|name| id(&passwd, name), |name| id(&group, name));
    let is = |path: &str| {
        let metadata = fs::metadata(root.join(path)).unwrap();
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
    };
    assert_eq!(is("etc/redoubt"), (0, gid("redoubt"), 0o1775));
    assert_eq!(is("etc/redoubt/node-6379.conf"), (uid("redoubt"), gid("redoubt"), 0o640));
    assert_eq!(is("etc/redoubt/sentinel.conf"), (uid("redoubt"), gid("redoubt"), 0o640));
    assert_eq!(is("etc/redoubt/vip-hook.yaml"), (0, gid("redoubt"), 0o640));
    assert_eq!(is("run/redoubt"), (0, 0, 0o755));
    assert!(
        group.lines().any(|line| line.starts_with("redoubt:") && line.ends_with(":redoubt-vip")),
        "{group}"
    );
}
