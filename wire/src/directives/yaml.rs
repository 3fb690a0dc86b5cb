//! Directives as YAML: a mapping from names to values.
//!
//! | YAML | the same in `redis.conf` |
//! |---|---|
//! | `port: 6379` | `port 6379` |
//! | `appendonly: true` | `appendonly yes` |
//! | `replicaof: 10.0.0.1 6379` | `replicaof 10.0.0.1 6379` |
//! | `bind: [127.0.0.1, "::1"]` | `bind 127.0.0.1 ::1` |
//! | `requirepass: ["two words"]` | `requirepass "two words"` |
//! | `save: ["3600 1", "300 100"]` | `save 3600 1` and `save 300 100` |
//! | `save: ""` | `save ""` |
//! | `rename-command: {CONFIG: ""}` | `rename-command CONFIG ""` |
//! | `sentinel: {monitor: ["m 127.0.0.1 6379 2"], down-after-milliseconds: {m: 5000}}` | `sentinel monitor m 127.0.0.1 6379 2` and `sentinel down-after-milliseconds m 5000` |
//!
//! - A *scalar* is what stands after the name in `redis.conf`, split into words by the same
//!   rules; numbers keep their text, a boolean is `yes` or `no`, and an empty string is one
//!   empty argument.
//! - A *list* is the arguments of one directive, each as it is, without splitting; for
//!   the [directives that may be repeated](REPEATABLE) it is one directive an item instead, where
//!   an item is a scalar or a list in the senses above.
//! - A *mapping* puts its keys before the arguments that each value gives.
//! - *Null* is no arguments at all.
//!
//! The file is read twice, since the YAML library tells a node's type and its text only one at
//! a time: once for the types, and once, guided by them, for texts and line numbers.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_yaml::Value;

use super::{ConfigError, Directive, Origin};
use crate::quoting::split;

/// Directives that add to those of the same name instead of replacing them.
pub const REPEATABLE: [&str; 7] =
    ["save", "client-output-buffer-limit", "user", "loadmodule", "rename-command", "include", "sentinel"];

/// What ends a line in YAML, apart from CR LF, as the YAML library counts lines.
const LINE_BREAKS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

/// Reads directives from the text of a YAML file.
///
/// # Errors
/// Text that is not YAML, or not a mapping of the form described above.
pub fn parse_yaml(text: &[u8], file: &Path) -> Result<Vec<Directive>, ConfigError> {
    let shown = String::from_utf8_lossy(text).replace("\r\n", "\n");
    let source = Source { file: file.into(), lines: shown.split(LINE_BREAKS).collect() };
    let text = std::str::from_utf8(text).map_err(|_| {
        let line = source.lines.iter().position(|line| line.contains(char::REPLACEMENT_CHARACTER));
        source.error(line.unwrap_or(0) + 1, "the file is not UTF-8 text".into())
    })?;
    let types: Value = serde_yaml::from_str(text).map_err(|error| source.yaml_error(&error))?;
    let document = Guide { types: &types, line: 1 }
        .deserialize(serde_yaml::Deserializer::from_str(text))
        .map_err(|error| source.yaml_error(&error))?;
    match document.content {
        Content::Null => Ok(Vec::new()),
        Content::Map(entries) => {
            let mut reader = Reader { source: &source, name: String::new(), directives: Vec::new() };
            for (key, value) in entries {
                reader.name = key.scalar(&source)?.to_lowercase();
                reader.read(Vec::new(), key.line, value)?;
            }
            Ok(reader.directives)
        }
        _ => Err(source.error(document.line, "expected a mapping from directives to their values".into())),
    }
}

/// The file, for naming places in it.
struct Source<'a> {
    file: Arc<Path>,
    lines: Vec<&'a str>,
}

impl Source<'_> {
    fn line_text(&self, line: usize) -> String {
        let text = self.lines.get(line.saturating_sub(1)).copied().unwrap_or_default();
        text.trim().to_string()
    }

    fn origin(&self, line: usize) -> Origin {
        Origin { file: self.file.clone(), line }
    }

    fn error(&self, line: usize, message: String) -> ConfigError {
        ConfigError::Line { origin: self.origin(line), line_text: self.line_text(line), message }
    }

    fn yaml_error(&self, error: &serde_yaml::Error) -> ConfigError {
        self.error(error.location().map_or(1, |location| location.line()), error.to_string())
    }
}

/// Turns the values of one directive into directives.
struct Reader<'a> {
    source: &'a Source<'a>,
    name: String,
    directives: Vec<Directive>,
}

impl Reader<'_> {
    /// Reads `value`, which stands after the words `args` on the line of its key.
    fn read(&mut self, args: Vec<Vec<u8>>, line: usize, value: Node) -> Result<(), ConfigError> {
        match value.content {
            Content::List(items) if REPEATABLE.contains(&self.name.as_str()) => {
                for item in items {
                    let item_line = item.line;
                    self.directive(args.clone(), item_line, item)?;
                }
                Ok(())
            }
            Content::Map(entries) => {
                for (key, value) in entries {
                    let mut args = args.clone();
                    args.push(key.scalar(self.source)?.into());
                    self.read(args, key.line, value)?;
                }
                Ok(())
            }
            _ => self.directive(args, line, value),
        }
    }

    /// Adds the one directive that a scalar or a list of arguments is.
    fn directive(&mut self, mut args: Vec<Vec<u8>>, line: usize, value: Node) -> Result<(), ConfigError> {
        match value.content {
            Content::Null => {}
            Content::Scalar(text) if text.is_empty() => args.push(Vec::new()),
            Content::Scalar(text) => {
                let unbalanced =
                    |_| self.source.error(line, "Unbalanced quotes in configuration line".into());
                args.extend(split(text.as_bytes()).map_err(unbalanced)?);
            }
            Content::List(items) => {
                for item in items {
                    args.push(item.scalar(self.source)?.into());
                }
            }
            Content::Map(_) => {
                return Err(self.source.error(value.line, "expected a scalar or a list of arguments".into()));
            }
        }
        let (origin, raw) = (self.source.origin(line), self.source.line_text(line));
        self.directives.push(Directive { name: self.name.clone(), args, origin, raw });
        Ok(())
    }
}

/// A node of the file, with the text of its scalars and the line on which it starts.
struct Node {
    line: usize,
    content: Content,
}

enum Content {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    fn scalar(&self, source: &Source<'_>) -> Result<&str, ConfigError> {
        match &self.content {
            Content::Scalar(text) => Ok(text),
            _ => Err(source.error(self.line, "expected a scalar".into())),
        }
    }
}

/// Reads the node that the first reading found to be of these types.
#[derive(Clone, Copy)]
struct Guide<'a> {
    types: &'a Value,
    /// The line of the node before, for nodes whose own line the library does not tell.
    line: usize,
}

impl<'de> DeserializeSeed<'de> for Guide<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        match self.types {
            Value::Null => {
                IgnoredAny::deserialize(deserializer)?;
                Ok(Node { line: self.line, content: Content::Null })
            }
            Value::Sequence(_) => deserializer.deserialize_seq(self),
            Value::Mapping(_) => deserializer.deserialize_map(self),
            Value::Tagged(tagged) => Err(de::Error::custom(format!("unexpected tag {}", tagged.tag))),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                let mut text = String::new();
                let position = deserializer.deserialize_str(ScalarText(&mut text)).err();
                if let Value::Bool(value) = self.types {
                    text = if *value { "yes" } else { "no" }.into();
                }
                let line = position.map_or(self.line, |error| line_of(&error.to_string()));
                Ok(Node { line, content: Content::Scalar(text) })
            }
        }
    }
}

impl<'de> Visitor<'de> for Guide<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the node that was there before")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items: Vec<Node> = Vec::new();
        for types in self.types.as_sequence().into_iter().flatten() {
            let line = items.last().map_or(self.line, |item| item.line);
            items.extend(seq.next_element_seed(Guide { types, line })?);
        }
        // Reading until there is no more is what moves the library past the list.
        seq.next_element::<IgnoredAny>()?;
        let line = items.first().map_or(self.line, |item| item.line);
        Ok(Node { line, content: Content::List(items) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        for (key, value) in self.types.as_mapping().into_iter().flatten() {
            let line = entries.last().map_or(self.line, |(_, value)| value.line);
            let Some(key) = map.next_key_seed(Guide { types: key, line })? else { break };
            let value = map.next_value_seed(Guide { types: value, line: key.line })?;
            entries.push((key, value));
        }
        map.next_key::<IgnoredAny>()?;
        let line = entries.first().map_or(self.line, |(key, _)| key.line);
        Ok(Node { line, content: Content::Map(entries) })
    }
}

/// Takes a scalar's text and then refuses it, because the library tells the place of a scalar
/// only with an error about it.
struct ScalarText<'a>(&'a mut String);

impl Visitor<'_> for ScalarText<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.0.push_str(text);
        Err(E::custom("located"))
    }
}

/// The line in the library's `… at line N column M`, which it leaves out for the very first byte.
fn line_of(error: &str) -> usize {
    let position = error.rsplit_once(" at line ").and_then(|(_, position)| position.split_once(' '));
    position.and_then(|(line, _)| line.parse().ok()).unwrap_or(1)
}
