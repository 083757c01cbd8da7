//! What carries what.

use std::{collections::BTreeSet, sync::Arc};

/// The name of a tag; that of [`WHOLE`] is what every value of a namespace carries.
pub type Tag = Arc<str>;

/// The tag of all values of a namespace.
pub const WHOLE: &str = "";

/// Tags of one value, with those that they carry.
pub const MAX_TAGS: usize = 64;

/// Why tags cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagFault {
    /// It carries itself.
    Cycle(Tag),
    /// There are more than [`MAX_TAGS`].
    TooMany,
}

/// All that `tags` carry by `links`, themselves included: sorted, each once.
pub fn carried(tags: &[Tag], links: &[(Tag, Vec<Tag>)]) -> Result<Vec<Tag>, TagFault> {
    let mut all = BTreeSet::new();
    for tag in tags {
        follow(tag, links, &mut Vec::new(), &mut all)?;
    }
    Ok(all.into_iter().collect())
}

fn follow(
    tag: &Tag,
    links: &[(Tag, Vec<Tag>)],
    by: &mut Vec<Tag>,
    all: &mut BTreeSet<Tag>,
) -> Result<(), TagFault> {
    if by.contains(tag) {
        return Err(TagFault::Cycle(tag.clone()));
    }
    if !all.insert(tag.clone()) {
        return Ok(());
    }
    if all.len() > MAX_TAGS {
        return Err(TagFault::TooMany);
    }
    by.push(tag.clone());
    for carried in links.iter().filter(|(of, _)| of == tag).flat_map(|(_, carries)| carries) {
        follow(carried, links, by, all)?;
    }
    by.pop();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(names: &[&str]) -> Vec<Tag> {
        names.iter().map(|&name| name.into()).collect()
    }

    fn link(tag: &str, carries: &[&str]) -> (Tag, Vec<Tag>) {
        (tag.into(), tags(carries))
    }

    #[test]
    fn what_is_carried_is_followed_to_its_end() {
        let links = [
            link("asset", &["creator", "brand"]),
            link("creator", &["project"]),
            link("brand", &["project"]),
            link("other", &["nothing"]),
        ];
        let all = carried(&tags(&["asset", "user"]), &links).unwrap();
        assert_eq!(all, tags(&["asset", "brand", "creator", "project", "user"]));
        assert!(carried(&[], &links).unwrap().is_empty());
    }

    #[test]
    fn who_carries_itself_is_named() {
        let links = [link("a", &["b"]), link("b", &["c"]), link("c", &["a"])];
        assert_eq!(carried(&tags(&["b"]), &links), Err(TagFault::Cycle("b".into())));
        let own = [link("a", &["a"])];
        assert_eq!(carried(&tags(&["a"]), &own), Err(TagFault::Cycle("a".into())));
        assert!(carried(&tags(&["x"]), &own).is_ok(), "nobody carries it");
    }

    #[test]
    fn there_are_at_most_64() {
        let many: Vec<Tag> = (0..65).map(|n| n.to_string().into()).collect();
        assert_eq!(carried(&many[..64], &[]).unwrap().len(), 64);
        assert_eq!(carried(&many, &[]), Err(TagFault::TooMany));
        let links = [("0".into(), many[1..].to_vec())];
        assert_eq!(carried(&many[..1], &links), Err(TagFault::TooMany));
    }
}
