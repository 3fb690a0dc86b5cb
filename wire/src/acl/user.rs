//! A user: whether and how one can log in as it, and what it may do.

use std::borrow::Cow;
use std::sync::Arc;

use super::catalog::Catalog;
use super::password::PasswordHash;
use super::rule::{Rule, RuleError};
use super::selector::{Selector, channel_fits};

/// A user. It does not change: new rules make a new one that takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: Arc<[u8]>,
    enabled: bool,
    no_password: bool,
    /// Only told: every payload is checked, whoever sends it.
    skip_sanitize_payload: bool,
    passwords: Vec<PasswordHash>,
    root: Selector,
    others: Vec<Selector>,
}

impl User {
    /// A new user, who cannot log in and may do nothing; with `all_channels`, nothing but
    /// with any channel.
    pub(super) fn new(name: &[u8], catalog: &Catalog, all_channels: bool) -> User {
        User {
            name: Arc::from(name),
            enabled: false,
            no_password: false,
            skip_sanitize_payload: false,
            passwords: Vec::new(),
            root: Selector::new(catalog, all_channels),
            others: Vec::new(),
        }
    }

    /// Takes over a rule; `all_channels` is what a new selector begins with.
    ///
    /// # Errors
    /// What the rule says is pointless for this user.
    pub(super) fn apply(
        &mut self,
        rule: &Rule,
        catalog: &Catalog,
        all_channels: bool,
    ) -> Result<(), RuleError> {
        match rule {
            Rule::Nothing => {}
            Rule::Enabled(on) => self.enabled = *on,
            Rule::SkipSanitizePayload(skip) => self.skip_sanitize_payload = *skip,
            Rule::NoPass | Rule::ResetPass => {
                self.no_password = *rule == Rule::NoPass;
                self.passwords.clear();
            }
            Rule::AddPassword(hash) => {
                self.no_password = false;
                if !self.passwords.contains(hash) {
                    self.passwords.push(*hash);
                }
            }
            Rule::RemovePassword(hash) => {
                let place = self.passwords.iter().position(|known| known == hash);
                self.passwords.remove(place.ok_or(RuleError::NoSuchPassword)?);
            }
            Rule::AddSelector(rules) => {
                let mut selector = Selector::new(catalog, all_channels);
                rules.iter().try_for_each(|rule| selector.apply(catalog, rule))?;
                self.others.push(selector);
            }
            Rule::ClearSelectors => self.others.clear(),
            Rule::Reset => *self = User::new(&self.name, catalog, all_channels),
            Rule::Root(rule) => self.root.apply(catalog, rule)?,
        }
        Ok(())
    }

    /// Its name.
    pub fn name(&self) -> &Arc<[u8]> {
        &self.name
    }

    /// Its name as text, in which invalid UTF-8 becomes the replacement character.
    pub fn shown_name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }

    /// Whether one can log in as this user.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether any password will do.
    pub fn needs_no_password(&self) -> bool {
        self.no_password
    }

    /// Whether a client that gives no name and no password is this user: so the default user.
    pub fn is_open(&self) -> bool {
        self.enabled && self.no_password
    }

    /// Whether one logs in as this user with `password`.
    pub fn takes_password(&self, password: &[u8]) -> bool {
        if !self.enabled || self.no_password {
            return self.enabled;
        }
        let given = PasswordHash::of(password);
        // All of them are compared, so that the time tells nothing about which one fits.
        self.passwords.iter().fold(false, |fits, known| fits | known.is(&given))
    }

    /// Whether it may do everything, so that nothing needs to be checked.
    pub fn is_unrestricted(&self) -> bool {
        self.selectors().any(Selector::allows_everything)
    }

    /// All selectors, the root first.
    pub fn selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.others)
    }

    /// The root selector.
    pub fn root(&self) -> &Selector {
        &self.root
    }

    /// The selectors beside the root.
    pub fn other_selectors(&self) -> &[Selector] {
        &self.others
    }

    /// The hashes of its passwords.
    pub fn passwords(&self) -> &[PasswordHash] {
        &self.passwords
    }

    /// The names of its flags, as ACL GETUSER lists them.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.enabled { "on" } else { "off" }];
        if self.no_password {
            flags.push("nopass");
        }
        flags.push(if self.skip_sanitize_payload { "skip-sanitize-payload" } else { "sanitize-payload" });
        flags
    }

    /// The rules that make this user out of a new one, as ACL LIST prints them.
    pub fn description(&self) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = self.flags().into_iter().map(|flag| flag.as_bytes().to_vec()).collect();
        words.extend(self.passwords.iter().map(|hash| format!("#{hash}").into_bytes()));
        words.extend(self.root.words());
        words.extend(self.others.iter().map(Selector::in_parentheses));
        words.join(&b' ')
    }

    /// Whether its channels are at least those that `before` had, pattern by pattern: then no
    /// subscription needs to be looked at.
    pub fn keeps_channels_of(&self, before: &User) -> bool {
        let Some(now) = self.channel_patterns() else { return true };
        before.channel_patterns().is_some_and(|before| before.iter().all(|pattern| now.contains(pattern)))
    }

    /// Whether it may listen to a channel, or to a pattern of channels.
    pub fn may_listen(&self, name: &[u8], is_pattern: bool) -> bool {
        self.channel_patterns().is_none_or(|patterns| channel_fits(&patterns, name, is_pattern))
    }

    /// The patterns of channels of all selectors; `None` where one allows all.
    fn channel_patterns(&self) -> Option<Vec<&Vec<u8>>> {
        let mut all = Vec::new();
        for selector in self.selectors() {
            all.extend(selector.channel_patterns()?);
        }
        Some(all)
    }
}
