//! The README's recipe for three hosts with a virtual address, as a reader types it: every command is read from the
//! README and run, in the order in which it stands there, on hosts that boot for it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use futures_util::future::{join_all, try_join_all};
use redoubt_lab::netns::Net;
use redoubt_lab::scratch::Scratch;
use redoubt_lab::wait;

use super::machine::{Booted, LIMIT, as_root, programs, sources};

/// The section of the README.
const HEADING: &str = "### Three hosts, from nothing to a tested failover\n";
/// The machine of the application.
const FOURTH: usize = 3;

/// What the recipe promises of the outage, in ms, with room for the fourth machine's own processes.
const OUTAGE_MS: u64 = 1600;

/// Where a block of commands is to be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Each,
    First,
    Fourth,
}

/// The blocks of commands, each with the place that was named last before it.
fn recipe() -> Vec<(On, String)> {
    let readme = fs::read_to_string(sources().join("README.md")).unwrap();
    let section = readme.split_once(HEADING).expect("the README has the recipe").1;
    let section = section.split_once("\n## ").expect("and another section follows").0;
    let mut blocks: Vec<(On, String)> = Vec::new();
    let (mut on, mut in_block) = (None, false);
    for line in section.lines() {
        for (words, place) in [
            ("**On each host**", On::Each),
            ("**On the first host**", On::First),
            ("**On a fourth machine**", On::Fourth),
        ] {
            if line.contains(words) {
                on = Some(place);
            }
        }
        match line.strip_prefix("    ") {
            Some(command) if in_block => {
                let block = &mut blocks.last_mut().unwrap().1;
                block.push_str(command);
                block.push('\n');
            }
            Some(command) => {
                blocks.push((on.expect("the README says where to type"), format!("{command}\n")));
                in_block = true;
            }
            None if line.is_empty() && in_block => blocks.last_mut().unwrap().1.push('\n'),
            None => in_block = false,
        }
    }
    blocks
}

/// A terminal of a machine: one shell, which ends at a command that fails.
struct Terminal {
    shell: Child,
    input: ChildStdin,
    log: PathBuf,
    typed: usize,
}

impl Terminal {
    /// `shell` is a command that is a bash.
    fn open(shell: &mut Command, log: &Path) -> Terminal {
        let output = fs::File::create(log).unwrap();
        let mut shell = shell
            .arg("-e")
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            // The programs are built already.
            .envs([("CARGO", "true"), ("BUILD", "/usr/local/src/programs")])
            .stdin(Stdio::piped())
            .stderr(output.try_clone().unwrap())
            .stdout(output)
            .spawn()
            .unwrap();
        let input = shell.stdin.take().unwrap();
        Terminal { shell, input, log: log.to_path_buf(), typed: 0 }
    }

    fn shown(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Types a block without waiting for its end.
    fn begin(&mut self, block: &str) {
        self.typed += 1;
        self.input.write_all(format!("{block}\necho done-{}\n", self.typed).as_bytes()).unwrap();
    }

    /// Types a block; what it showed.
    async fn run(&mut self, block: &str) -> String {
        let before = self.shown().len();
        self.begin(block);
        let done = format!("done-{}\n", self.typed);
        wait::until("the commands have ended", LIMIT, async || {
            let shown = self.shown()[before..].to_string();
            let ended = self.shell.try_wait().unwrap();
            assert!(ended.is_none(), "{block}\nfailed:\n{shown}");
            shown.strip_suffix(&done).map(str::to_string).ok_or(shown)
        })
        .await
        .unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// The three hosts and the fourth machine, with a terminal each.
struct Site {
    machines: Vec<Booted>,
    terminals: Vec<Terminal>,
    net: Net,
}

impl Site {
    async fn boot(scratch: &Scratch) -> Result<Site, String> {
        let net = Net::new(FOURTH + 1).unwrap();
        let (sources, programs) = (sources(), programs());
        let shared = [(sources, "src/redoubt"), (programs.as_path(), "src/programs")];
        let boots = net.hosts()[..FOURTH].iter().map(async |host| {
            let root = scratch.subdir(&format!("{}-root", host.name)).unwrap();
            for folder in ["etc", "usr/local/bin"] {
                fs::create_dir_all(root.join(folder)).unwrap();
            }
            // Not every machine that runs tests has a sudo.
            let sudo = root.join("usr/local/bin/sudo");
            fs::write(&sudo, "#!/bin/sh\nexec \"$@\"\n").unwrap();
            fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).unwrap();
            Booted::boot(host, &root, &shared, &scratch.path().join(format!("{}-boot.log", host.name))).await
        });
        let machines = try_join_all(boots).await?;
        let log = |number: usize| scratch.path().join(format!("h{number}-terminal.log"));
        let open = |(number, machine): (usize, &Booted)| {
            let shell = "cd /usr/local/src/redoubt && exec bash \"$@\"";
            Terminal::open(machine.command("bash").args(["-c", shell, "bash"]), &log(number))
        };
        let mut terminals: Vec<Terminal> = machines.iter().enumerate().map(open).collect();
        terminals.push(Terminal::open(&mut net.host(FOURTH).command("bash"), &log(FOURTH)));
        Ok(Site { machines, terminals, net })
    }

    /// Types a block where it belongs; what it showed on each of these machines.
    async fn run(&mut self, on: On, block: &str) -> Vec<String> {
        match on {
            On::Each => {
                let hosts = self.terminals[..FOURTH].iter_mut().zip(self.net.hosts());
                join_all(hosts.map(async |(terminal, host)| {
                    let own = block.replacen("ip=10.0.0.1\n", &format!("ip={}\n", host.address), 1);
                    terminal.run(&own).await
                }))
                .await
            }
            On::First => vec![self.terminals[0].run(block).await],
            On::Fourth => {
                self.terminals[FOURTH].begin(block);
                vec![]
            }
        }
    }

    /// Which host holds the address, once one does and the whole deployment is as it should be.
    async fn settled(&self) -> usize {
        wait::until("one host holds the address, and all is well", LIMIT, async || {
            let status = |machine: &Booted| machine.run(&["/usr/local/bin/redoubt-vip-hook", "status"]);
            let says: Vec<String> = self.machines.iter().map(status).collect();
            let holders: Vec<usize> =
                (0..FOURTH).filter(|host| says[*host].contains("mymaster: held")).collect();
            let [holder] = holders[..] else { return Err(says.concat()) };
            for machine in &self.machines {
                let cli = ["redis-cli", "-p", "26379", "SENTINEL"];
                let quorum = machine.run(&[&cli[..], &["CKQUORUM", "mymaster"]].concat());
                let replicas = machine.run(&[&cli[..], &["REPLICAS", "mymaster"]].concat());
                let matches = |text: &str| replicas.matches(text).count();
                if !quorum.starts_with("OK 3 usable")
                    || matches("master-link-status\nok\n") != FOURTH - 1
                    || matches("flags\nslave\n") != FOURTH - 1
                {
                    return Err(format!("{quorum}{replicas}"));
                }
            }
            Ok(holder)
        })
        .await
        .unwrap()
    }

    /// The outages that the fourth machine told of.
    fn outages_ms(&self) -> Vec<u64> {
        let shown = self.terminals[FOURTH].shown();
        let told = shown.lines().filter_map(|line| line.split_once(" nobody answered for "));
        told.map(|(_, for_how_long)| for_how_long.strip_suffix(" ms").unwrap().parse().unwrap()).collect()
    }

    async fn beats(&self) {
        let beats = async || {
            let cli =
                ["redis-cli", "--no-auth-warning", "-a", "change-me", "-h", "10.0.0.100", "GET", "beats"];
            self.machines[0].run(&cli).trim().parse::<u64>().map_err(|e| e.to_string())
        };
        let before = wait::until("the fourth machine writes", LIMIT, beats).await.unwrap();
        wait::until("it goes on writing", LIMIT, async || match beats().await? {
            now if now > before => Ok(()),
            now => Err(now.to_string()),
        })
        .await
        .unwrap();
    }
}

#[test]
fn with_systemd_analyze_and_netns_the_readme_s_recipe_works_as_typed() {
    as_root("recipe::with_systemd_analyze_and_netns_the_readme_s_recipe_works_as_typed", typed);
}

async fn typed() {
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut site = match Site::boot(&scratch).await {
        Ok(site) => site,
        Err(why) => return eprintln!("skipped: no systemd can be booted here: {why}"),
    };
    let (mut killed, mut moved) = (false, false);
    for (on, block) in recipe() {
        // Where the reader waits until it is so.
        if block.contains("vip-hook check") || block.contains("systemctl kill") || block.contains("FAILOVER")
        {
            let holder = site.settled().await;
            assert_eq!(holder == 0, !killed);
        }
        let shown = site.run(on, &block).await;
        println!("{on:?}: {block}{}", shown.join("\n---\n"));
        if block.contains("beats") {
            site.beats().await;
        } else if block.contains("systemctl kill") {
            wait::until("the fourth machine tells of the outage", LIMIT, async || {
                if site.outages_ms().is_empty() { Err("it does not") } else { Ok(()) }
            })
            .await
            .unwrap();
            let holder = site.settled().await;
            killed = true;
            let journal = site.machines[holder].run(&["journalctl", "--no-pager", "-u", "redoubt-sentinel"]);
            assert!(journal.contains("redoubt-vip-hook of mymaster (pid"), "{journal}");
            assert!(journal.contains(": 10.0.0.100 taken on eth0 "), "{journal}");
        } else if block.contains("FAILOVER") {
            assert_eq!(shown, ["OK\n"]);
            moved = true;
        }
    }
    assert!(killed && moved, "the recipe has both failovers");
    site.settled().await;
    site.beats().await;
    let outages = site.outages_ms();
    println!("outages: {outages:?}");
    assert!(outages.len() <= 2 && outages.iter().all(|ms| *ms <= OUTAGE_MS), "{outages:?}");
}
