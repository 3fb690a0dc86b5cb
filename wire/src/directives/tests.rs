//! Directives from text, files, YAML and command lines.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

/// Name and arguments of each directive, as a line each.
fn lines(directives: &[Directive]) -> Vec<String> {
    directives.iter().map(Directive::to_line).collect()
}

fn text(text: &str) -> Vec<Directive> {
    parse_text(text.as_bytes(), Path::new("redis.conf")).unwrap()
}

fn yaml(text: &str) -> Vec<Directive> {
    yaml::parse_yaml(text.as_bytes(), Path::new("redis.yaml")).unwrap()
}

fn yaml_error(text: &str) -> String {
    yaml::parse_yaml(text.as_bytes(), Path::new("redis.yaml")).unwrap_err().to_string()
}

fn command_line(args: &[&str]) -> CommandLine {
    CommandLine::parse(args.iter().map(Into::into))
}

fn options(args: &[&str]) -> Vec<String> {
    lines(&command_line(args).options().unwrap())
}

struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let files_in = Files(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = files_in.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text.replace("DIR", files_in.0.path().to_str().unwrap())).unwrap();
        }
        files_in
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, name: &str) -> Result<Vec<Directive>, ConfigError> {
        load(&self.path(name))
    }
}

#[test]
fn comments_blank_lines_case_and_repeats() {
    let read =
        text("# a comment\r\n\n  \t# another\nPORT 7000\r\nsave 60 1\nsave \"\"\n rename-command A \"b c\" ");
    assert_eq!(lines(&read), ["port 7000", "save 60 1", "save \"\"", "rename-command A \"b c\""]);
    assert_eq!(read.iter().map(|d| d.origin.line).collect::<Vec<_>>(), [4, 5, 6, 7]);
    assert_eq!(read[3].raw, "rename-command A \"b c\"");
}

#[test]
fn a_hash_inside_a_line_is_no_comment() {
    assert_eq!(text("requirepass a#b # c")[0].args, [&b"a#b"[..], b"#", b"c"]);
}

#[test]
fn errors_have_the_shape_of_redis_and_name_the_file() {
    let error = parse_text(b"port 1\n  dir \"/tmp ", Path::new("/etc/redis.conf")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***\n\
         Reading the configuration file, at line 2 of /etc/redis.conf\n\
         >>> 'dir \"/tmp'\nUnbalanced quotes in configuration line"
    );
    let whole = ConfigError::Whole { message: "no".into() };
    assert_eq!(whole.to_string(), "*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***\nno");
}

#[test]
fn a_missing_file_is_named() {
    let error = load(Path::new("/nonexistent/redis.conf")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Fatal error, can't open config file '/nonexistent/redis.conf': No such file or directory"
    );
}

#[test]
fn includes_stand_where_they_are_included() {
    let files = Files::new(&[
        ("main.conf", "port 1\ninclude DIR/conf.d/*.conf\ninclude DIR/extra.yaml\nport 5"),
        ("conf.d/b.conf", "port 3"),
        ("conf.d/a.conf", "port 2\nInclude DIR/none*.conf"),
        ("extra.yaml", "port: 4\n"),
    ]);
    let read = files.load("main.conf").unwrap();
    assert_eq!(lines(&read), ["port 1", "port 2", "port 3", "port 4", "port 5"]);
    assert_eq!(&*read[2].origin.file, files.path("conf.d/b.conf"));
}

#[test]
fn includes_are_relative_to_the_last_dir() {
    let files = Files::new(&[
        ("main.conf", "dir DIR/sub\ninclude a.conf\ninclude *.d\n"),
        ("sub/a.conf", "port 1"),
        ("sub/x.d", "port 2"),
    ]);
    assert_eq!(lines(&files.load("main.conf").unwrap())[1..], ["port 1", "port 2"]);
}

#[test]
fn an_include_that_fails_names_the_line_that_asked_for_it() {
    let files = Files::new(&[("main.conf", "port 1\ninclude /nonexistent/x.conf\n")]);
    let error = files.load("main.conf").unwrap_err().to_string();
    assert!(error.contains("at line 2 of "), "{error}");
    assert!(
        error.ends_with("can't open config file '/nonexistent/x.conf': No such file or directory"),
        "{error}"
    );
    let files = Files::new(&[("main.conf", "include a b\n")]);
    assert!(files.load("main.conf").unwrap_err().to_string().ends_with("wrong number of arguments"));
}

#[test]
fn a_file_that_includes_itself_is_refused() {
    let files = Files::new(&[("main.conf", "include DIR/*.conf\n"), ("other.conf", "port 1\n")]);
    let error = files.load("main.conf").unwrap_err().to_string();
    assert!(error.ends_with("include nested more than 16 files deep"), "{error}");
}

#[test]
fn options_become_lines() {
    assert_eq!(options(&["--port", "7000", "--save", "60", "1"]), ["port 7000", "save 60 1"]);
    assert_eq!(options(&["--port 7000", "--dir", "/a b"]), ["port 7000", "dir \"/a b\""]);
    assert_eq!(options(&["--save", "60 1"])[0], "save \"60 1\"");
    assert_eq!(options(&["--requirepass", "--secret", "--port", "1"]), ["requirepass --secret", "port 1"]);
    assert_eq!(options(&["--save", "--port", "1"]), ["save \"\"", "port 1"]);
    assert_eq!(options(&["--port", "1", "--save"]), ["port 1", "save \"\""]);
    assert_eq!(options(&["--sentinel", "--port", "1"]), ["sentinel", "port 1"]);
    assert_eq!(options(&["--port", "1", "--sentinel"]), ["port 1", "sentinel"]);
    assert_eq!(options(&["--port", "1", "--dbfilename", ""]), ["port 1", "dbfilename \"\""]);
}

#[test]
fn file_stdin_and_options_in_order() {
    let files = Files::new(&[("main.conf", "port 1\n")]);
    let main = files.path("main.conf");
    let line = command_line(&[main.to_str().unwrap(), "--port", "3", "-"]);
    assert_eq!(line.config_file, Some(main));
    let read = line.load(&mut &b"port 2"[..]).unwrap();
    assert_eq!(lines(&read), ["port 1", "port 2", "port 3"]);
    assert!(read[1].error("x").to_string().contains("at line 1 of <stdin>"));
    assert!(command_line(&["-", "--port", "1"]).from_stdin);
    assert!(!command_line(&["--port", "-", "--dir", "x"]).from_stdin);
    assert_eq!(lines(&command_line(&[]).load(&mut &b"port 2"[..]).unwrap()), Vec::<String>::new());
}

#[test]
fn yaml_says_the_same_as_text() {
    let read = yaml(concat!(
        "# comment\n",
        "Port: 6379\n",
        "appendonly: true\n",
        "rdbcompression: no\n",
        "replicaof: 10.0.0.1 6379\n",
        "bind: [127.0.0.1, \"::1\"]\n",
        "requirepass:\n  - two words\n",
        "save:\n  - 3600 1\n  - [300, 100]\n",
        "rename-command: {CONFIG: ''}\n",
        "masterauth: \"true\"\n",
        "maxmemory: 1.10\n",
        "latency-tracking-info-percentiles: [50, 99.90, 0x10]\n",
        "logfile: ''\n",
        "sentinel:\n",
        "  monitor:\n    - m 127.0.0.1 6379 2\n    - n 127.0.0.1 6380 2\n",
        "  down-after-milliseconds: {m: 5000}\n",
        "  resolve-hostnames: true\n",
        "aclfile:\n",
    ));
    let expected = [
        "port 6379",
        "appendonly yes",
        "rdbcompression no",
        "replicaof 10.0.0.1 6379",
        "bind 127.0.0.1 ::1",
        "requirepass \"two words\"",
        "save 3600 1",
        "save 300 100",
        "rename-command CONFIG \"\"",
        "masterauth true",
        "maxmemory 1.10",
        "latency-tracking-info-percentiles 50 99.90 0x10",
        "logfile \"\"",
        "sentinel monitor m 127.0.0.1 6379 2",
        "sentinel monitor n 127.0.0.1 6380 2",
        "sentinel down-after-milliseconds m 5000",
        "sentinel resolve-hostnames yes",
        "aclfile",
    ];
    assert_eq!(lines(&read), expected);
    let at: Vec<usize> = read.iter().map(|d| d.origin.line).collect();
    assert_eq!(at, [2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 19, 20, 21, 22, 23]);
    assert_eq!(read[14].raw, "- n 127.0.0.1 6380 2");
}

#[test]
fn yaml_that_holds_nothing() {
    assert_eq!(yaml(""), []);
    assert_eq!(yaml("# only a comment\n---\n"), []);
    assert_eq!(yaml("{}"), []);
}

#[test]
fn every_line_break_of_yaml_counts_for_line_numbers() {
    let read = yaml("\r\rport: 1\r\ndir: x\u{85}logfile: y\u{2028}bind: z\n");
    let at: Vec<_> = read.iter().map(|d| (d.origin.line, d.raw.as_str())).collect();
    assert_eq!(at, [(3, "port: 1"), (4, "dir: x"), (5, "logfile: y"), (6, "bind: z")]);
}

#[test]
fn yaml_errors_name_the_line() {
    let cases = [
        ("port: 1\nport: 2\n", "at line 1 of redis.yaml\n>>> 'port: 1'", "duplicate"),
        ("port: 1\ndir: [\n", "at line 3 of", "did not find"),
        ("- port\n", "at line 1 of", "expected a mapping"),
        ("port: 1\nbind: [a, [b]]\n", "at line 2 of redis.yaml\n>>> 'bind: [a, [b]]'", "expected a scalar"),
        ("port: 1\nsave: [{a: b}]\n", "at line 2 of", "expected a scalar or a list"),
        ("port: 1\ndir: \"'a\"\n", "at line 2 of", "Unbalanced quotes"),
        ("port: 1\n? [a]\n: 2\n", "at line 2 of", "expected a scalar"),
        ("port: 1\ndir: !x y\n", "of redis.yaml", "unexpected tag !x"),
        ("port: 1\n---\nport: 2\n", "of redis.yaml", "more than one document"),
    ];
    for (text, place, message) in cases {
        let error = yaml_error(text);
        assert!(error.contains(place) && error.contains(message), "{text:?}: {error}");
    }
    let error = yaml::parse_yaml(b"a: b\nc: \xff\n", Path::new("x.yml")).unwrap_err().to_string();
    assert!(error.contains("at line 2 of x.yml") && error.ends_with("the file is not UTF-8 text"), "{error}");
}

proptest! {
    #[test]
    fn written_directives_read_back(
        name in "[a-z-]{1,12}",
        args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5)
    ) {
        let origin = Origin { file: Path::new("x").into(), line: 1 };
        let written = Directive { name, args, origin, raw: String::new() };
        let read = parse_text(written.to_line().as_bytes(), Path::new("x")).unwrap();
        prop_assert_eq!((&read[0].name, &read[0].args), (&written.name, &written.args));
    }

    #[test]
    fn arguments_on_the_command_line_stay_as_they_are(
        args in prop::collection::vec("[ -~]{1,10}", 1..5).prop_filter("no options", |args| {
            args.iter().all(|arg| !arg.starts_with("--") && arg != "-")
        })
    ) {
        let words: Vec<&str> = ["--x"].into_iter().chain(args.iter().map(String::as_str)).collect();
        let read = command_line(&words).options().unwrap();
        prop_assert_eq!(&read[0].args, &args.iter().map(|a| a.clone().into_bytes()).collect::<Vec<_>>());
    }

    #[test]
    fn arbitrary_text_reads_or_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(read) = parse_text(&bytes, Path::new("x")) {
            prop_assert!(read.len() <= bytes.split(|&b| b == b'\n').count());
        }
    }

    #[test]
    fn arbitrary_yaml_reads_or_is_refused_with_a_line(text in "([a-c]: |- |\\[|\\]|\\{|\\}|, |\n| |[a-c1!&*'\"]){0,24}") {
        if let Err(ConfigError::Line { origin, .. }) = yaml::parse_yaml(text.as_bytes(), Path::new("x")) {
            prop_assert!(origin.line <= text.split('\n').count() + 1);
        }
    }

    #[test]
    fn one_directive_means_the_same_in_both_syntaxes(
        name in "[a-z][a-z-]{0,8}", args in prop::collection::vec("[ -~]{0,10}", 0..4)
    ) {
        let origin = Origin { file: Path::new("x").into(), line: 1 };
        let args: Vec<Vec<u8>> = args.into_iter().map(String::into_bytes).collect();
        let directive = Directive { name, args, origin, raw: String::new() };
        let line = directive.to_line();
        let rest = line.split_once(' ').map_or("", |(_, rest)| rest);
        prop_assume!(!rest.is_empty());
        let read = yaml(&format!("{:?}: {}", directive.name, serde_json::to_string(rest).unwrap()));
        prop_assert_eq!((&read[0].name, &read[0].args), (&directive.name, &directive.args));
    }
}
