//! All users of a program, by name: the one door through which they are made, changed and removed.
//!
//! A change is made to a copy and takes effect as a whole or not at all. What becomes of the clients
//! that are logged in is for the program: [`Change`] says who was and who is.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalog::Catalog;
use super::rule::{Rule, RuleError, has_blanks, join_selectors};
use super::user::User;
use crate::quoting::quote;

/// The name of the user that clients are before they log in.
pub const DEFAULT_USER: &[u8] = b"default";

/// What became of a user.
#[derive(Clone, Debug)]
pub struct Change {
    /// The user as it was; none if it is new.
    pub before: Option<Arc<User>>,
    /// The user as it is.
    pub now: Arc<User>,
}

/// All users.
#[derive(Clone, Debug)]
pub struct Users {
    catalog: &'static Catalog,
    all_channels: bool,
    by_name: BTreeMap<Arc<[u8]>, Arc<User>>,
}

/// Rules of a user that can't be taken over.
struct Refused<'w> {
    word: Cow<'w, [u8]>,
    error: RuleError,
}

impl Users {
    /// The default user alone, who may do everything without a password. With `all_channels`
    /// (`acl-pubsub-default`), what is made later begins with all channels.
    pub fn new(catalog: &'static Catalog, all_channels: bool) -> Users {
        let mut users = Users { catalog, all_channels, by_name: BTreeMap::new() };
        users.put(users.open_default_user());
        users
    }

    /// The default user as it is where nothing says otherwise.
    fn open_default_user(&self) -> User {
        let mut user = self.fresh(DEFAULT_USER);
        let rules = [&b"+@all"[..], b"~*", b"&*", b"on", b"nopass"];
        // These rules need nothing of the catalog and exclude nothing of one another.
        let taken = self.apply(&mut user, rules.into_iter().map(Into::into));
        debug_assert!(taken.is_ok());
        user
    }

    fn fresh(&self, name: &[u8]) -> User {
        User::new(name, self.catalog, self.all_channels)
    }

    fn put(&mut self, user: User) -> Arc<User> {
        let user = Arc::new(user);
        self.by_name.insert(user.name().clone(), user.clone());
        user
    }

    fn apply<'w>(
        &self,
        user: &mut User,
        words: impl IntoIterator<Item = Cow<'w, [u8]>>,
    ) -> Result<(), Refused<'w>> {
        for word in words {
            let rule = Rule::parse(&word, self.catalog);
            let taken = rule.and_then(|rule| user.apply(&rule, self.catalog, self.all_channels));
            taken.map_err(|error| Refused { word, error })?;
        }
        Ok(())
    }

    /// The commands that rules speak of.
    pub fn catalog(&self) -> &'static Catalog {
        self.catalog
    }

    /// What new users and selectors begin with from now on (`acl-pubsub-default`).
    pub fn set_all_channels(&mut self, all_channels: bool) {
        self.all_channels = all_channels;
    }

    /// A user by name.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// The user that clients are before they log in.
    pub fn default_user(&self) -> &Arc<User> {
        // It is there from the start and cannot be deleted.
        &self.by_name[DEFAULT_USER]
    }

    /// All users, in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.by_name.values()
    }

    /// The user that one is with this name and password.
    pub fn log_in(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        self.get(name).filter(|user| user.takes_password(password)).cloned()
    }

    /// ACL SETUSER: makes a user, or gives one that is there more rules; all of them or none.
    ///
    /// # Errors
    /// The text of the first that can't be taken over, without its code.
    pub fn set<W: AsRef<[u8]>>(&mut self, name: &[u8], rules: &[W]) -> Result<Change, String> {
        if has_blanks(name) {
            return Err("Usernames can't contain spaces or null characters".into());
        }
        let rules = join_selectors(rules).map_err(|error| error.to_string())?;
        let before = self.get(name).cloned();
        let mut user = before.as_deref().cloned().unwrap_or_else(|| self.fresh(name));
        self.apply(&mut user, rules).map_err(|Refused { word, error }| {
            format!("Error in ACL SETUSER modifier '{}': {error}", String::from_utf8_lossy(&word))
        })?;
        Ok(Change { before, now: self.put(user) })
    }

    /// `requirepass`: the one password of the default user, or none at all.
    pub fn set_default_password(&mut self, password: Option<&[u8]>) -> Change {
        let before = self.default_user().clone();
        let mut user = User::clone(&before);
        let rule = match password {
            Some(password) => [b">", password].concat(),
            None => b"nopass".to_vec(),
        };
        let taken = self.apply(&mut user, [b"resetpass"[..].into(), rule.into()]);
        debug_assert!(taken.is_ok());
        Change { before: Some(before), now: self.put(user) }
    }

    /// ACL DELUSER for one name; the user that is gone. The default user always stays.
    pub fn delete(&mut self, name: &[u8]) -> Option<Arc<User>> {
        if name == DEFAULT_USER { None } else { self.by_name.remove(name) }
    }

    /// The users that the `user` lines of a configuration make, each given by its arguments, beside
    /// the default user with the password of `requirepass`.
    ///
    /// # Errors
    /// Which line can't be taken over, and why.
    pub fn from_lines<'l>(
        catalog: &'static Catalog,
        all_channels: bool,
        requirepass: Option<&[u8]>,
        lines: impl IntoIterator<Item = &'l [Vec<u8>]>,
    ) -> Result<Users, (usize, String)> {
        let mut users = Users::new(catalog, all_channels);
        users.set_default_password(requirepass);
        let mut seen: Vec<&[u8]> = Vec::new();
        for (at, line) in lines.into_iter().enumerate() {
            let [name, rules @ ..] = line else {
                return Err((at, "Bad directive or wrong number of arguments".into()));
            };
            if seen.contains(&name.as_slice()) {
                let why = "Duplicate user found. A user can only be defined once in config files";
                let name = String::from_utf8_lossy(name);
                return Err((at, format!("Error in user declaration '{name}': {why}")));
            }
            seen.push(name);
            users.define(name, rules).map_err(|text| (at, text))?;
        }
        Ok(users)
    }

    /// Makes the user of a `user` line.
    fn define(&mut self, name: &[u8], rules: &[Vec<u8>]) -> Result<(), String> {
        if has_blanks(name) {
            return Err("Spaces not allowed in ACL usernames".into());
        }
        let rules = join_selectors(rules).map_err(|error| error.to_string())?;
        let mut user = self.fresh(name);
        self.apply(&mut user, rules).map_err(|Refused { word, error }| {
            let word = String::from_utf8_lossy(&word);
            match error {
                RuleError::Unknown => format!(
                    "Error loading ACL rule '{word}' for the user named '{}': {error}",
                    String::from_utf8_lossy(name)
                ),
                _ => format!("Error in user declaration '{word}': {error}"),
            }
        })?;
        self.put(user);
        Ok(())
    }

    /// What follows `user` on the line of each user in a rewritten configuration, with the user's
    /// name. The default user has no line while it is what `requirepass` alone makes of it.
    pub fn lines(&self, requirepass: Option<&[u8]>) -> Vec<(Arc<[u8]>, Vec<u8>)> {
        let mut plain = Users::new(self.catalog, self.all_channels);
        plain.set_default_password(requirepass);
        let written = self.iter().filter(|user| plain.get(user.name()) != Some(user));
        written
            .map(|user| {
                let description = user.description();
                let words = std::iter::once(&**user.name()).chain(description.split(|byte| *byte == b' '));
                let line: Vec<String> = words.map(quote).collect();
                (user.name().clone(), line.join(" ").into_bytes())
            })
            .collect()
    }

    /// ACL SAVE: the text of an ACL file that holds these users.
    pub fn to_file(&self) -> Vec<u8> {
        self.iter()
            .flat_map(|user| [b"user ", &**user.name(), b" ", &user.description(), b"\n"].concat())
            .collect()
    }

    /// ACL LOAD: takes over the users of the text of an ACL file, which stands at `file`, and no
    /// others; a default user that it does not name may do everything.
    ///
    /// # Errors
    /// One text with all that is wrong; then nothing has changed.
    pub fn load(&mut self, text: &[u8], file: &str) -> Result<(), String> {
        let mut loaded = Users { by_name: BTreeMap::new(), ..*self };
        let mut errors = String::new();
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = trim(line, b" \t\r\n");
            if !line.is_empty() {
                loaded.load_line(line, file, index + 1, &mut errors);
            }
        }
        if !errors.is_empty() {
            return Err(errors
                + "WARNING: ACL errors detected, no change to the previously active ACL rules was performed");
        }
        if loaded.get(DEFAULT_USER).is_none() {
            loaded.put(loaded.open_default_user());
        }
        *self = loaded;
        Ok(())
    }

    /// Takes over one line of an ACL file, or appends what is wrong with it to `errors`.
    fn load_line(&mut self, line: &[u8], file: &str, number: usize, errors: &mut String) {
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let [b"user", name, rules @ ..] = words.as_slice() else {
            *errors += &format!("{file}:{number} should start with user keyword followed by the username. ");
            return;
        };
        let shown = String::from_utf8_lossy(name);
        if has_blanks(name) {
            *errors += &format!("'{file}:{number}: username '{shown}' contains invalid characters. ");
            return;
        }
        if self.get(name).is_some() {
            *errors += &format!("WARNING: Duplicate user '{shown}' found on line {number}. ");
            return;
        }
        let Ok(rules) = join_selectors(rules) else {
            *errors += &format!("{file}:{number}: Unmatched parenthesis in selector definition.");
            return;
        };
        let mut user = self.fresh(name);
        let mut told = false;
        for rule in rules {
            let word = trim(&rule, b"\t\r\n").to_vec();
            match self.apply(&mut user, [word.into()]) {
                Ok(()) => {}
                // An unknown command gives nothing secret away, and another may follow.
                Err(Refused { word, error: error @ RuleError::Unknown }) => {
                    let word = String::from_utf8_lossy(&word);
                    *errors += &format!("{file}:{number}: Error in applying operation '{word}': {error}. ");
                }
                // Of the others the first is told, since those behind it may follow from it.
                Err(Refused { error, .. }) if !told => {
                    *errors += &format!("{file}:{number}: {error}. ");
                    told = true;
                }
                Err(_) => {}
            }
        }
        self.put(user);
    }
}

/// `text` without these bytes at its ends.
fn trim<'t>(text: &'t [u8], bytes: &[u8]) -> &'t [u8] {
    let start = text.iter().take_while(|byte| bytes.contains(byte)).count();
    let end = text[start..].iter().rev().take_while(|byte| bytes.contains(byte)).count();
    &text[start..text.len() - end]
}
