//! The commands of a Sentinel as rules speak of them.

use std::sync::LazyLock;

use redoubt_wire::acl::Catalog;

use super::super::command_table;

/// The Sentinel's commands, as rules speak of them.
pub(super) static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let named: Vec<_> = command_table::all().map(|spec| (spec.full_name(), spec.categories())).collect();
    Catalog::new(named.iter().map(|(name, categories)| (name.as_ref(), *categories)), &[])
});

#[cfg(test)]
mod tests {
    use redoubt_wire::acl::Categories;

    use super::*;

    #[test]
    fn categories_are_those_of_redis() {
        for (name, category, is_in) in [
            ("sentinel|masters", Categories::DANGEROUS, true),
            ("sentinel|help", Categories::ADMIN, false),
            ("client|kill", Categories::ADMIN, true),
            ("client|id", Categories::ADMIN, false),
            ("client|id", Categories::CONNECTION, true),
            ("acl|setuser", Categories::ADMIN, true),
            ("acl|whoami", Categories::ADMIN, false),
            ("ping", Categories::FAST, true),
            ("publish", Categories::PUBSUB, true),
            ("command|docs", Categories::ADMIN, false),
        ] {
            let id = CATALOG.find(name.as_bytes()).unwrap_or_else(|| panic!("{name} is not known"));
            assert_eq!(CATALOG.in_category(category).any(|other| other == id), is_in, "{name}");
        }
    }
}
