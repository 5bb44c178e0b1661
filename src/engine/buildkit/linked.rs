//! Finds the linked layers of an image in its definition, the graph of operations that create it.
//!
//! `BuildKit` creates the files of a `COPY --link` in an empty file system and merges them with the layers below.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard_buildkit_proto::pb::{Definition, Input, Op, op};
use prost::Message as _;

use super::context::encode;
use crate::image::Digest;

/// The operations of an image by their digests, with their positions in its definition.
type Operations = HashMap<String, (usize, Op)>;

/// Returns the definitions of the layers that `image` links, by the digests of the operations that create them.
pub(super) fn linked_layers(image: &Definition) -> HashMap<String, Definition> {
    let decoded = image.def.iter().enumerate().filter_map(|(position, bytes)| {
        let operation = Op::decode(&**bytes).ok()?;
        Some((Digest::of(bytes).to_string(), (position, operation)))
    });
    let operations: Operations = decoded.collect();
    let end = image.def.last().and_then(|bytes| Op::decode(&**bytes).ok()).unwrap_or_default();
    let mut layers = HashMap::new();
    let mut current = input(&end, 0);
    while let Some((_, operation)) = current.and_then(|current| operations.get(current)) {
        if let Some(op::Op::Merge(merge)) = &operation.op {
            let linked = merge.inputs.iter().skip(1);
            for layer in linked.filter_map(|linked| input(operation, linked.input)) {
                layers.insert(layer.clone(), up_to(layer, image, &operations));
            }
        }
        current = below(operation);
    }
    layers
}

/// Returns the operation that creates the layers below those of `operation`.
fn below(operation: &Op) -> Option<&String> {
    let number = match operation.op.as_ref()? {
        op::Op::Merge(merge) => merge.inputs.first()?.input,
        op::Op::Exec(exec) => exec.mounts.iter().find(|mount| mount.dest == "/")?.input,
        op::Op::File(file) => file.actions.first()?.input,
        _ => return None,
    };
    input(operation, number)
}

/// Returns the operation that is input `number` of `operation`. Negative numbers are empty inputs.
fn input(operation: &Op, number: i64) -> Option<&String> {
    Some(&operation.inputs.get(usize::try_from(number).ok()?)?.digest)
}

/// Returns the part of `image` that ends with the operation `last`.
fn up_to(last: &String, image: &Definition, operations: &Operations) -> Definition {
    let (mut positions, mut metadata) = (BTreeSet::new(), BTreeMap::new());
    let mut waiting = vec![last];
    while let Some(digest) = waiting.pop() {
        let Some((position, operation)) = operations.get(digest) else { continue };
        if positions.insert(*position) {
            if let Some(known) = image.metadata.get(digest) {
                metadata.insert(digest.clone(), known.clone());
            }
            waiting.extend(operation.inputs.iter().map(|input| &input.digest));
        }
    }
    let mut def: Vec<Vec<u8>> =
        positions.iter().map(|position| image.def[*position].clone()).collect();
    // The last operation of a definition only refers to the result.
    def.push(encode(vec![Input { digest: last.clone(), index: 0 }], None));
    Definition { def, metadata, source: None }
}

#[cfg(test)]
mod tests {
    use bollard_buildkit_proto::pb::{
        ExecOp, FileAction, FileOp, MergeInput, MergeOp, Mount, OpMetadata, SourceOp,
    };

    use super::*;

    /// Adds an operation whose inputs are the results of other operations. Returns its digest.
    fn add(image: &mut Definition, inputs: &[&String], operation: op::Op) -> String {
        let input = |digest: &&String| Input { digest: (*digest).clone(), index: 0 };
        let bytes = encode(inputs.iter().map(input).collect(), Some(operation));
        let digest = Digest::of(&bytes).to_string();
        image.metadata.insert(digest.clone(), OpMetadata::default());
        image.def.push(bytes);
        digest
    }

    fn pull(name: &str) -> op::Op {
        op::Op::Source(SourceOp { identifier: name.to_owned(), ..SourceOp::default() })
    }

    /// Returns a command that runs in the first input and mounts the second.
    fn run() -> op::Op {
        let mount =
            |(dest, input): (&str, i64)| Mount { dest: dest.to_owned(), input, ..Mount::default() };
        let mounts = [("/", 0), ("/run/other", 1)].map(mount).into();
        op::Op::Exec(ExecOp { mounts, ..ExecOp::default() })
    }

    /// Returns a copy between two inputs, which are given by their indices. The target -1 is empty.
    fn copy(target: i64, source: i64) -> op::Op {
        let action = FileAction { input: target, secondary_input: source, ..FileAction::default() };
        op::Op::File(FileOp { actions: vec![action] })
    }

    fn merge() -> op::Op {
        op::Op::Merge(MergeOp { inputs: vec![MergeInput { input: 0 }, MergeInput { input: 1 }] })
    }

    #[test]
    fn linked_layers_are_found_below_other_layers_and_not_in_other_stages() {
        let mut image = Definition::default();
        let system = add(&mut image, &[], pull("python"));
        let library = add(&mut image, &[], pull("library"));
        let nested = add(&mut image, &[&system], copy(-1, 0));
        let tools = add(&mut image, &[&library, &nested], merge());
        let first = add(&mut image, &[&library], copy(-1, 0));
        let linked = add(&mut image, &[&system, &first], merge());
        let ran = add(&mut image, &[&linked, &tools], run());
        let copied = add(&mut image, &[&ran, &library], copy(0, 1));
        let second = add(&mut image, &[&tools], copy(-1, 0));
        let last = add(&mut image, &[&copied, &second], merge());
        image.def.push(encode(vec![Input { digest: last, index: 0 }], None));

        let layers = linked_layers(&image);
        let digests: BTreeSet<&String> = layers.keys().collect();
        assert_eq!(digests, BTreeSet::from([&first, &second]));
        let operations = |layer: &String| layers[layer].metadata.keys().collect::<BTreeSet<_>>();
        assert_eq!(operations(&first), BTreeSet::from([&library, &first]));
        assert_eq!(
            operations(&second),
            BTreeSet::from([&system, &library, &nested, &tools, &second])
        );
        let end = layers[&first].def.last().expect("an operation");
        assert_eq!(Op::decode(&**end).expect("an operation").inputs[0].digest, first);
    }
}
