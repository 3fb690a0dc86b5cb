//! The set: an intset or a listpack while small, a persistent hash table beyond.
//!
//! The thresholds, and which form follows which, are Redis's, as OBJECT ENCODING shows them; a set never
//! goes back to a smaller form by losing members.

#[cfg(test)]
mod tests;

use rand::Rng;

use super::Corrupt;
use super::entry::{Entry, Needle};
use super::hash_trie::{HashTrie, Members};
use super::intset::IntSet;
use super::listpack::ListPack;

/// The directives that shape sets, and the seed that keys the hash of new tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetLimits {
    /// `set-max-intset-entries`: the most members of an intset. Default 512.
    pub max_intset_entries: usize,
    /// `set-max-listpack-entries`: the most members of a listpack. Default 128.
    pub max_listpack_entries: usize,
    /// `set-max-listpack-value`: the longest member of a listpack, in bytes. Default 64.
    pub max_listpack_value: usize,
    /// Secret of the process, so that nobody can choose members that collide.
    pub hash_seed: u64,
}

impl SetLimits {
    /// The default directives with a seed.
    pub fn with_seed(hash_seed: u64) -> Self {
        SetLimits { max_intset_entries: 512, max_listpack_entries: 128, max_listpack_value: 64, hash_seed }
    }

    /// The format of intsets allows no more than 2^30 members, whatever the directive says.
    fn intset_entries(&self) -> usize {
        self.max_intset_entries.min(1 << 30)
    }

    fn admits_to_listpack(&self, members: usize, longest: usize) -> bool {
        members < self.max_listpack_entries && longest <= self.max_listpack_value
    }
}

/// A collection of distinct byte strings.
#[derive(Debug, Clone)]
pub struct Set {
    repr: Repr,
}

#[derive(Debug, Clone)]
enum Repr {
    Ints(IntSet),
    Packed(ListPack),
    Table(HashTrie<Members>),
}

impl Set {
    /// An empty set in the form that suits a first member and an expected number of them.
    pub fn for_member(first: &[u8], expected: usize, limits: &SetLimits) -> Self {
        let repr = if Needle::new(first).int().is_some() && expected <= limits.max_intset_entries {
            Repr::Ints(IntSet::new())
        } else if expected <= limits.max_listpack_entries {
            Repr::Packed(ListPack::new())
        } else {
            Repr::Table(HashTrie::new(limits.hash_seed))
        };
        Set { repr }
    }

    /// An empty set to load `expected` members into one by one, as an RDB file lists them.
    pub fn for_loading(expected: usize, limits: &SetLimits) -> Self {
        if expected <= limits.intset_entries() {
            Set { repr: Repr::Ints(IntSet::new()) }
        } else {
            Set { repr: Repr::Table(HashTrie::new(limits.hash_seed)) }
        }
    }

    /// A set of a loaded intset, in the form its size asks for.
    pub fn from_intset(ints: IntSet, limits: &SetLimits) -> Self {
        let mut set = Set { repr: Repr::Ints(ints) };
        if set.len() > limits.intset_entries() {
            set.become_table(limits);
        }
        set
    }

    /// A set of a loaded listpack, in the form its size asks for. Refuses one that names a member twice.
    pub fn from_listpack(pack: ListPack, limits: &SetLimits) -> Result<Self, Corrupt> {
        let members = pack.len();
        let table = table_of(pack.iter(), limits);
        if table.len() < members {
            return Err(Corrupt {
                structure: "listpack of a set",
                at: 0,
                what: "a member stands in it twice",
            });
        }
        let fits = members <= limits.max_listpack_entries;
        Ok(Set { repr: if fits { Repr::Packed(pack) } else { Repr::Table(table) } })
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        match &self.repr {
            Repr::Ints(ints) => ints.len(),
            Repr::Packed(pack) => pack.len(),
            Repr::Table(table) => table.len(),
        }
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What OBJECT ENCODING says: `intset`, `listpack` or `hashtable`.
    pub fn encoding_name(&self) -> &'static str {
        match &self.repr {
            Repr::Ints(_) => "intset",
            Repr::Packed(_) => "listpack",
            Repr::Table(_) => "hashtable",
        }
    }

    /// The intset, if that is the form: its bytes go into an RDB file as they are.
    pub fn as_intset(&self) -> Option<&IntSet> {
        if let Repr::Ints(ints) = &self.repr { Some(ints) } else { None }
    }

    /// The listpack, if that is the form: its bytes go into an RDB file as they are.
    pub fn as_listpack(&self) -> Option<&ListPack> {
        if let Repr::Packed(pack) = &self.repr { Some(pack) } else { None }
    }

    /// Bytes that the set holds; of a large one judged from `samples` leaves (0: all of them).
    pub fn memory_usage(&self, samples: usize) -> usize {
        match &self.repr {
            Repr::Ints(ints) => ints.memory_usage(),
            Repr::Packed(pack) => pack.memory_usage(),
            Repr::Table(table) => table.memory_usage(samples),
        }
    }

    /// Before a command adds `adding` members: a small form whose limit that number alone exceeds turns into a
    /// table at once.
    pub fn prepare_growth(&mut self, adding: usize, limits: &SetLimits) {
        let limit = match &self.repr {
            Repr::Ints(_) => limits.max_intset_entries,
            Repr::Packed(_) => limits.max_listpack_entries,
            Repr::Table(_) => return,
        };
        if adding > limit {
            self.become_table(limits);
        }
    }

    /// Adds a member; says whether it was missing.
    pub fn add(&mut self, member: &[u8], limits: &SetLimits) -> bool {
        match &mut self.repr {
            Repr::Table(table) => table.insert(member, &[]),
            Repr::Ints(_) => self.add_to_ints(&Needle::new(member), limits),
            Repr::Packed(_) => self.add_to_packed(&Needle::new(member), limits),
        }
    }

    /// Removes a member; says whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.repr {
            Repr::Table(table) => table.remove(member),
            Repr::Ints(ints) => Needle::new(member).int().is_some_and(|value| ints.remove(value)),
            Repr::Packed(pack) => match pack.find(&Needle::new(member)) {
                Some(position) => {
                    pack.remove_at(position);
                    true
                }
                None => false,
            },
        }
    }

    /// Whether `member` is in the set.
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.repr {
            Repr::Table(table) => table.contains(member),
            Repr::Ints(ints) => Needle::new(member).int().is_some_and(|value| ints.contains(value)),
            Repr::Packed(pack) => pack.find(&Needle::new(member)).is_some(),
        }
    }

    /// All members, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let (ints, pack, table) = match &self.repr {
            Repr::Ints(ints) => (Some(ints.iter().map(Entry::Int)), None, None),
            Repr::Packed(pack) => (None, Some(pack.iter()), None),
            Repr::Table(table) => (None, None, Some(table.iter().map(|(member, _)| Entry::Str(member)))),
        };
        let small = ints.into_iter().flatten().chain(pack.into_iter().flatten());
        small.chain(table.into_iter().flatten())
    }

    /// A member drawn uniformly.
    pub fn random(&self, rng: &mut (impl Rng + ?Sized)) -> Option<Entry<'_>> {
        if self.is_empty() { None } else { self.member_at(rng.random_range(0..self.len())) }
    }

    /// `count` different members drawn uniformly, or all of them if there are no more.
    pub fn random_distinct(
        &self,
        count: usize,
        rng: &mut (impl Rng + ?Sized),
    ) -> impl Iterator<Item = Entry<'_>> {
        let ranks = rand::seq::index::sample(rng, self.len(), count.min(self.len()));
        ranks.into_iter().filter_map(|rank| self.member_at(rank))
    }

    /// Takes out a member drawn uniformly.
    pub fn pop_random(&mut self, rng: &mut (impl Rng + ?Sized)) -> Option<Vec<u8>> {
        let member = self.random(rng)?.to_bytes().into_owned();
        self.remove(&member);
        Some(member)
    }

    /// Calls `visit` with at least `count` members from `cursor` on, as far as there are any, and returns the
    /// cursor to go on with, 0 at the end; a small set is visited whole. A member that is there from the first
    /// call to the last is visited.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Entry<'_>)) -> u64 {
        match &self.repr {
            Repr::Table(table) => table.scan(cursor, count, |member, _| visit(Entry::Str(member))),
            _ => {
                self.iter().for_each(visit);
                0
            }
        }
    }

    /// Turns the set into an intset if all members are integers and few enough, as SINTERSTORE and its kin leave
    /// their result; says whether it is one now.
    pub fn become_intset(&mut self, limits: &SetLimits) -> bool {
        if self.as_intset().is_some() {
            return true;
        }
        if self.len() > limits.intset_entries() {
            return false;
        }
        let mut ints = IntSet::new();
        for member in self.iter() {
            let Some(value) = member.with_bytes(|bytes| Needle::new(bytes).int()) else { return false };
            ints.add(value);
        }
        self.repr = Repr::Ints(ints);
        true
    }

    fn member_at(&self, rank: usize) -> Option<Entry<'_>> {
        match &self.repr {
            Repr::Ints(ints) => ints.get(rank).map(Entry::Int),
            Repr::Packed(pack) => pack.get(rank),
            Repr::Table(table) => table.entry_at(rank).map(|(member, _)| Entry::Str(member)),
        }
    }

    fn add_to_ints(&mut self, member: &Needle<'_>, limits: &SetLimits) -> bool {
        let Repr::Ints(ints) = &mut self.repr else { unreachable!("the caller looked at the form") };
        if let Some(value) = member.int() {
            let added = ints.add(value);
            if added && ints.len() > limits.intset_entries() {
                self.become_table(limits);
            }
            return added;
        }
        let ends = [ints.min(), ints.max()];
        let longest = ends.into_iter().flatten().map(|value| Entry::Int(value).byte_len()).max().unwrap_or(0);
        if limits.admits_to_listpack(ints.len(), longest.max(member.bytes().len())) {
            let mut pack = ListPack::with_capacity(ints.as_bytes().len() + member.bytes().len());
            ints.iter().for_each(|value| pack.push_back_int(value));
            pack.push_back_needle(member);
            self.repr = Repr::Packed(pack);
            true
        } else {
            self.become_table(limits).insert(member.bytes(), &[])
        }
    }

    fn add_to_packed(&mut self, member: &Needle<'_>, limits: &SetLimits) -> bool {
        let Repr::Packed(pack) = &mut self.repr else { unreachable!("the caller looked at the form") };
        let len = member.bytes().len();
        if pack.find(member).is_some() {
            false
        } else if limits.admits_to_listpack(pack.len(), len) && pack.has_room_for(len) {
            pack.push_back_needle(member);
            true
        } else {
            self.become_table(limits).insert(member.bytes(), &[])
        }
    }

    /// The table, made from the small form.
    fn become_table(&mut self, limits: &SetLimits) -> &mut HashTrie<Members> {
        self.repr = Repr::Table(table_of(self.iter(), limits));
        match &mut self.repr {
            Repr::Table(table) => table,
            _ => unreachable!("it was made a table above"),
        }
    }
}

fn table_of<'a>(members: impl Iterator<Item = Entry<'a>>, limits: &SetLimits) -> HashTrie<Members> {
    let mut table = HashTrie::new(limits.hash_seed);
    for member in members {
        member.with_bytes(|bytes| table.insert(bytes, &[]));
    }
    table
}
