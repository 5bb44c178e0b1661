//! The order of releases: aliases and the newest release set point to the newest release, however
//! runs overlap.
//!
//! A registry has no compare-and-swap, and a run that sees nothing newer may be overtaken before it
//! writes. So each release first *claims* its place: its release set, which no other release
//! overwrites, is written under the tag of its version. Only then does it look for newer claims, move
//! the aliases, and look again. If a newer release has claimed its place by then, the run moves the
//! aliases on to that one's images, as its set lists them. Whichever of two runs writes last has seen
//! the claims of both.
//!
//! With `--overwrite`, an older release takes the aliases back on purpose. The newest set then lists
//! the releases that it has withdrawn, whose claims are ignored.

use std::collections::{BTreeMap, BTreeSet};

use super::error::is_immutable;
use super::survey::{exists, outdated_tags};
use super::tags::{READ_BACK, TagSetter};
use super::{Place, PublishError, ReleaseSet, SetName, set};
use crate::error::one_line;
use crate::event::Event;
use crate::image::{Digest, Reference, Repository};
use crate::version::Version;

/// The maximum number of times that a run moves aliases which other runs move too.
const ROUNDS: usize = 8;

/// A release and its place among those of the same matrix, in one registry.
pub(super) struct Order<'a> {
    setter: &'a TagSetter<'a>,
    name: &'a SetName,
    version: &'a Version,
    claim: &'a Reference,
    newest: &'a Reference,
    /// The newer releases whose claims are ignored.
    withdrawn: BTreeSet<String>,
}

/// A newer release that has claimed its place.
struct Newer {
    version: String,
    set: ReleaseSet,
}

/// The writes of a round.
#[derive(Default)]
struct Written {
    tags: usize,
    is_set_new: bool,
}

impl<'a> Order<'a> {
    /// Reads the place of the release `name`. Returns `None` if the release has no version or does not claim a place.
    pub(super) async fn read(
        setter: &'a TagSetter<'a>,
        name: &'a SetName,
    ) -> Result<Option<Self>, PublishError> {
        let version = setter.release.version.as_ref();
        let ([claim, newest], Some(version)) = (name.references.as_slice(), version) else {
            return Ok(None);
        };
        let mut order = Self { setter, name, version, claim, newest, withdrawn: BTreeSet::new() };
        let current = order.newest_set().await?;
        let mut withdrawn: BTreeSet<String> =
            current.iter().flat_map(|set| set.withdrawn.clone()).collect();
        if setter.release.overwrite {
            withdrawn.extend(order.claims().await?);
            withdrawn.extend(current.and_then(|set| set.version));
        }
        withdrawn.retain(|other| version.is_below(other));
        order.withdrawn = withdrawn;
        Ok(Some(order))
    }

    pub(super) fn registry(&self) -> &'a str {
        self.claim.repository.registry()
    }

    /// Moves the aliases and the newest set to the newest release: `own`, unless a newer release has
    /// claimed its place. Returns the number of moved aliases.
    pub(super) async fn settle(&self, own: &ReleaseSet) -> Result<usize, PublishError> {
        let mut newer = self.newer().await?;
        let (mut tags, mut followed) = (0, None);
        for round in 0..ROUNDS {
            let written = match &newer {
                None => self.lead(own).await?,
                Some(newer) => {
                    if followed.as_ref() != Some(&newer.version) {
                        let version = &newer.version;
                        let message = format!(
                            "{version} is released already: it keeps its aliases and the newest release set"
                        );
                        self.setter.events.emit(&Event::Warning { target: None, message });
                        followed = Some(version.clone());
                    }
                    self.follow(newer, own).await?
                }
            };
            tags += written.tags;
            if written.tags == 0 && !written.is_set_new {
                return Ok(tags);
            }
            let now = self.newer().await?;
            let is_same = now.as_ref().map(|newer| &newer.version)
                == newer.as_ref().map(|newer| &newer.version);
            if is_same && round > 0 {
                // Other runs move them too, or the registry does not return its new tags yet.
                tokio::time::sleep(READ_BACK[usize::from(round > 1)]).await;
            }
            newer = now;
        }
        let references = self.places().flat_map(Place::aliases).cloned().collect();
        Err(PublishError::Mixed { references })
    }

    /// Returns the tags of the images in the registry.
    fn places(&self) -> impl Iterator<Item = Place<'a>> {
        let rows = self.setter.release.rows.iter();
        rows.filter_map(|row| row.place_in(self.registry()))
    }

    /// Makes this release the newest.
    async fn lead(&self, own: &ReleaseSet) -> Result<Written, PublishError> {
        let mut newest = own.clone();
        newest.withdrawn = self.withdrawn.clone();
        let is_set_new = self.write_newest(&newest).await?;
        let tags = self.setter.move_aliases(self.registry()).await?;
        Ok(Written { tags, is_set_new })
    }

    /// Moves the newest set to a newer release, and each alias to the newest release that has it. This run, or an
    /// interrupted one, may have moved them away.
    async fn follow(&self, newer: &Newer, own: &ReleaseSet) -> Result<Written, PublishError> {
        let repositories: BTreeSet<&Repository> = self.places().map(Place::repository).collect();
        let current = self.newest_set().await?;
        let is_set_new = match current {
            Some(current) if current.version.as_ref() == Some(&newer.version) => false,
            current => {
                let mut set = newer.set.clone();
                set.withdrawn.extend(current.into_iter().flat_map(|set| set.withdrawn));
                set.withdrawn.extend(self.withdrawn.iter().cloned());
                set.withdrawn.retain(|other| is_below(&newer.version, other));
                self.write_newest(&set).await?
            }
        };
        // A set may list any repository, but only those of this release are read.
        let owners = self.owners(newer, own).await?;
        let aliases =
            owners.iter().map(|(alias, (id, digest))| (id.as_str(), alias.clone(), digest));
        let aliases = aliases.filter(|(_, alias, _)| repositories.contains(&alias.repository));
        let registries = self.setter.registries;
        let mut outdated = Vec::new();
        for tag in outdated_tags(registries, aliases).await? {
            // An image that was deleted since cannot be tagged.
            if exists(registries, &tag.reference.repository, &tag.digest).await? {
                outdated.push(tag);
            }
        }
        Ok(Written { tags: self.setter.put(&outdated, false).await?, is_set_new })
    }

    /// Returns the image that each alias belongs to: that of the newest release with this alias. An alias such as
    /// `{{major}}.{{minor}}` is not one of all releases, so this release may be the newest that has it.
    async fn owners(&self, newer: &Newer, own: &ReleaseSet) -> Result<Owners, PublishError> {
        let mut owners = owners_in(&newer.set);
        let mut remaining = owners_in(own);
        remaining.retain(|alias, _| !owners.contains_key(alias));
        if !remaining.is_empty() {
            let mut between = self.claims().await?;
            between.retain(|version| {
                is_below(version, &newer.version)
                    && !self.withdrawn.contains(version)
                    && !newer.set.withdrawn.contains(version)
            });
            for version in between.into_iter().rev() {
                let Some(set) = self.claimed(&version).await? else { continue };
                for (alias, owner) in owners_in(&set) {
                    if remaining.remove(&alias).is_some() {
                        owners.insert(alias, owner);
                    }
                }
            }
        }
        owners.extend(remaining);
        Ok(owners)
    }

    /// Writes the newest set. Returns true unless it was the same before.
    async fn write_newest(&self, set: &ReleaseSet) -> Result<bool, PublishError> {
        match set::write(self.setter.registries, self.newest, set, self.name.form).await {
            // A registry without movable tags has no newest set.
            Err(PublishError::Registry(error)) if is_immutable(&error) => Ok(false),
            written => Ok(written?.is_new),
        }
    }

    async fn newest_set(&self) -> Result<Option<ReleaseSet>, PublishError> {
        let newest = ReleaseSet::read(self.setter.registries, self.newest).await?;
        Ok(newest.map(|(set, _)| set))
    }

    /// Returns the newest of the newer releases that are not withdrawn.
    async fn newer(&self) -> Result<Option<Newer>, PublishError> {
        let current = self.newest_set().await?;
        let is_withdrawn = |version: &String| {
            self.withdrawn.contains(version)
                || current.as_ref().is_some_and(|set| set.withdrawn.contains(version))
        };
        let mut claims = self.claims().await?;
        claims.retain(|version| !is_withdrawn(version));
        let known = current.clone().and_then(|set| {
            let version = set.version.clone()?;
            let counts = self.version.is_below(&version) && !is_withdrawn(&version);
            counts.then_some(Newer { version, set })
        });
        for version in claims.into_iter().rev() {
            if known.as_ref().is_some_and(|known| !is_below(&known.version, &version)) {
                break;
            }
            if let Some(set) = self.claimed(&version).await? {
                return Ok(Some(Newer { version, set }));
            }
        }
        Ok(known)
    }

    /// Returns the set with which a version has claimed its place, if it has.
    async fn claimed(&self, version: &str) -> Result<Option<ReleaseSet>, PublishError> {
        let Ok(tag) = format!("{}{version}", self.prefix()).parse() else { return Ok(None) };
        let reference = Reference { tag, ..self.claim.clone() };
        let read = ReleaseSet::read(self.setter.registries, &reference).await?;
        Ok(read.map(|(set, _)| set).filter(|set| set.is_ordered))
    }

    /// Returns the prefix of a claim's tag; the version follows it.
    fn prefix(&self) -> &str {
        let tag = self.claim.tag.as_str();
        tag.strip_suffix(self.version.as_str()).unwrap_or(tag)
    }

    /// Returns the newer versions that have a set, the lowest first. Includes sets of
    /// `--version-tag`.
    async fn claims(&self) -> Result<Vec<String>, PublishError> {
        let tags = match self.setter.registries.tags(&self.claim.repository).await {
            Ok(tags) => tags.unwrap_or_default(),
            Err(error) if error.is_transient() => return Err(error.into()),
            Err(error) => {
                let message = format!(
                    "the order of releases that run at the same time is not checked: {}",
                    one_line(&error)
                );
                self.setter.events.emit(&Event::Warning { target: None, message });
                return Ok(Vec::new());
            }
        };
        let versions = tags.iter().filter_map(|tag| tag.strip_prefix(self.prefix()));
        let newer = versions.filter(|version| self.version.is_below(version));
        let mut newer: Vec<String> = newer.map(str::to_owned).collect();
        newer.sort_by(|one, other| is_below(other, one).cmp(&is_below(one, other)));
        Ok(newer)
    }
}

/// Aliases, each with the id and the digest of an image.
type Owners = BTreeMap<Reference, (String, Digest)>;

fn owners_in(set: &ReleaseSet) -> Owners {
    let aliases = set.aliases();
    aliases.map(|(id, alias, digest)| (alias, (id.to_owned(), digest.clone()))).collect()
}

fn is_below(one: &str, other: &str) -> bool {
    one.parse::<Version>().is_ok_and(|one| one.is_below(other))
}
