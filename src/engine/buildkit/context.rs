//! Sends build contexts to the engine.
//!
//! A small context is a chain of file operations in the request. A large one is an archive that the engine
//! fetches through the session. [`SentContext::new`] makes the choice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use bollard_buildkit_proto::pb::file_action::Action;
use bollard_buildkit_proto::pb::{
    Definition, FileAction, FileActionCopy, FileActionMkDir, FileActionMkFile, FileOp, Input, Op,
    OpMetadata, SourceOp, op,
};
use bytes::Bytes;
use prost::Message;

use crate::image::Digest;
use crate::render::{BuildContext, ContextFile};

/// The maximum size of a context within a request, in bytes. gRPC servers refuse messages over 4 MiB.
const MAX_INLINE: usize = 2 << 20;

/// The name of the Dockerfile in its own file system.
pub(super) const DOCKERFILE: &str = "Dockerfile";

/// The name of the main context among the inputs of the frontend.
const MAIN: &str = "context";

/// The value for "none": no input, no output, or an unchanged mode.
const NONE: i64 = -1;

/// A build context as parts of a request.
pub(super) struct SentContext {
    /// The files of the main context, and of named contexts by their names.
    files: HashMap<String, Definition>,
    /// The archives that the engine fetches through the session, by id.
    pub(super) uploads: HashMap<String, Bytes>,
}

impl SentContext {
    /// Converts `context`. Nearly all contexts are small enough for the request. The engine caches their
    /// file operations, so variants with the same files share them.
    pub(super) fn new(context: &BuildContext) -> Self {
        let mut uploads = HashMap::new();
        let name = "[internal] load build context";
        let mut files =
            HashMap::from([(MAIN.to_owned(), sent(&context.files, name, &mut uploads))]);
        for (name, folder) in context.folders() {
            let display = format!("[internal] load build context {name}");
            files.insert(name.to_owned(), sent(folder, &display, &mut uploads));
        }
        Self { files, uploads }
    }

    /// Returns the inputs of the Dockerfile frontend for `dockerfile` with these files.
    pub(super) fn inputs(&self, dockerfile: &str) -> HashMap<String, Definition> {
        let dockerfile = written(&[ContextFile {
            path: DOCKERFILE.to_owned(),
            content: dockerfile.as_bytes().into(),
            ..ContextFile::default()
        }]);
        let dockerfile = definition(dockerfile, "[internal] load build definition");
        let mut inputs = self.files.clone();
        inputs.insert("dockerfile".to_owned(), dockerfile);
        inputs
    }
}

/// Returns the operations that create `files`, from bytes in the request or from an archive in `uploads`.
fn sent(files: &[ContextFile], name: &str, uploads: &mut HashMap<String, Bytes>) -> Definition {
    let size: usize = files.iter().map(|file| file.content.len()).sum();
    // Older engines have no operation that creates a link.
    if size <= MAX_INLINE && !files.iter().any(|file| file.is_link) {
        return definition(written(files), name);
    }
    let archive = Bytes::from(archive(files));
    // The id is the digest, so that builds with the same files share the unpacked archive.
    let id = Digest::of(&archive).hex();
    let fetched = fetched(&id);
    uploads.insert(id, archive);
    definition(fetched, name)
}

/// Returns the operation that creates `files` from bytes in the request.
fn written(files: &[ContextFile]) -> Vec<op::Op> {
    // The root is always included, since an operation needs at least one action.
    let above = files.iter().flat_map(|file| folders(&file.path));
    let folders: BTreeSet<&str> = above.chain([""]).collect();
    let make_folders = folders.into_iter().map(|path| {
        Action::Mkdir(FileActionMkDir {
            path: format!("/{path}"),
            mode: 0o755,
            // Prevents an error for the root, which exists already.
            make_parents: true,
            ..FileActionMkDir::default()
        })
    });
    let make_files = files.iter().map(|file| {
        Action::Mkfile(FileActionMkFile {
            path: format!("/{}", file.path),
            mode: file.mode().into(),
            data: file.content.to_vec(),
            ..FileActionMkFile::default()
        })
    });
    vec![op::Op::File(FileOp { actions: chain(make_folders.chain(make_files).collect()) })]
}

/// Returns the operations that fetch and unpack the archive `id`.
fn fetched(id: &str) -> Vec<op::Op> {
    const NAME: &str = "context";
    let fetch = SourceOp {
        identifier: format!("http://buildkit-session/{id}"),
        attrs: BTreeMap::from([("http.filename".to_owned(), NAME.to_owned())]),
    };
    let unpack = Action::Copy(FileActionCopy {
        src: format!("/{NAME}"),
        dest: "/".to_owned(),
        mode: -1,
        timestamp: NONE,
        attempt_unpack_docker_compatibility: true,
        ..FileActionCopy::default()
    });
    vec![
        op::Op::Source(fetch),
        op::Op::File(FileOp {
            actions: vec![FileAction {
                input: NONE,
                secondary_input: 0,
                output: 0,
                action: Some(unpack),
            }],
        }),
    ]
}

/// Packs `files` into an uncompressed tar archive. The same files give the same bytes.
fn archive(files: &[ContextFile]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        let appended = if file.is_link {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            let target = OsStr::from_bytes(&file.content);
            archive.append_link(&mut header, &file.path, target)
        } else {
            header.set_size(file.content.len() as u64);
            header.set_mode(file.mode().into());
            archive.append_data(&mut header, &file.path, &*file.content)
        };
        appended.expect("writing to memory does not fail");
    }
    archive.into_inner().expect("writing to memory does not fail")
}

/// Chains `operations`: each one uses the output of the previous one. `name` is their display name.
fn definition(operations: Vec<op::Op>, name: &str) -> Definition {
    let metadata = OpMetadata {
        description: BTreeMap::from([("llb.customname".to_owned(), name.to_owned())]),
        caps: BTreeMap::from([("file.base".to_owned(), true)]),
        ..OpMetadata::default()
    };
    let mut definition = Definition::default();
    let mut inputs = Vec::new();
    for operation in operations {
        let bytes = encode(inputs, Some(operation));
        let digest = Digest::of(&bytes).to_string();
        definition.def.push(bytes);
        definition.metadata.insert(digest.clone(), metadata.clone());
        inputs = vec![Input { digest, index: 0 }];
    }
    // The last operation of a definition only refers to the result.
    definition.def.push(encode(inputs, None));
    definition
}

pub(super) fn encode(inputs: Vec<Input>, operation: Option<op::Op>) -> Vec<u8> {
    let op = Op { inputs, op: operation, ..Op::default() };
    op.encode_to_vec()
}

/// Returns the parent folders of `path` without the root.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

/// Chains `actions`: each one uses the output of the previous one.
fn chain(actions: Vec<Action>) -> Vec<FileAction> {
    let count = actions.len();
    let numbered = (0_i64..).zip(actions);
    let link = |(number, action): (i64, Action)| FileAction {
        input: number - 1,
        secondary_input: NONE,
        output: if usize::try_from(number + 1) == Ok(count) { 0 } else { NONE },
        action: Some(action),
    };
    numbered.map(link).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::ContextFile;

    fn context(files: &[(&str, usize)]) -> BuildContext {
        let file = |(path, size): &(&str, usize)| ContextFile {
            path: (*path).to_owned(),
            executable: true,
            content: vec![b'x'; *size].into(),
            ..ContextFile::default()
        };
        BuildContext {
            dockerfile: "FROM scratch\n".to_owned(),
            dockerfile_name: "t.Dockerfile".to_owned(),
            files: files.iter().map(file).collect(),
            ..BuildContext::default()
        }
    }

    fn actions(definition: &Definition) -> Vec<String> {
        let op = Op::decode(definition.def[0].as_slice()).expect("an operation");
        let Some(op::Op::File(file)) = op.op else {
            panic!("{op:?}");
        };
        let show = |action: FileAction| {
            let target = match action.action {
                Some(Action::Mkdir(folder)) => folder.path,
                Some(Action::Mkfile(file)) => format!("{} {:o}", file.path, file.mode),
                other => panic!("{other:?}"),
            };
            format!("{} -> {}: {target}", action.input, action.output)
        };
        file.actions.into_iter().map(show).collect()
    }

    #[test]
    fn a_small_context_consists_of_file_operations() {
        let sent = SentContext::new(&context(&[("a/b/run.sh", 1), ("c", 1)]));
        assert!(sent.uploads.is_empty());
        let expected = [
            "-1 -> -1: /",
            "0 -> -1: /a",
            "1 -> -1: /a/b",
            "2 -> -1: /a/b/run.sh 755",
            "3 -> 0: /c 755",
        ];
        assert_eq!(actions(&sent.inputs("FROM scratch")["context"]), expected);
    }

    #[test]
    fn file_operations_do_not_depend_on_the_dockerfile() {
        let sent = SentContext::new(&context(&[("a", 1)]));
        let (one, other) = (sent.inputs("FROM a"), sent.inputs("FROM b"));
        assert_eq!(one["context"], other["context"]);
        assert_ne!(one["dockerfile"], other["dockerfile"]);
    }

    #[test]
    fn links_are_sent_as_links() {
        let mut linked = context(&[("a/b", 1)]);
        let content = b"../b"[..].into();
        let link = ContextFile {
            path: "a/c".to_owned(),
            is_link: true,
            content,
            ..ContextFile::default()
        };
        linked.files.push(link);
        let sent = SentContext::new(&linked);
        let (_, bytes) = sent.uploads.iter().next().expect("an archive");
        let mut archive = tar::Archive::new(&bytes[..]);
        let entries = archive.entries().expect("entries").map(|entry| {
            let entry = entry.expect("an entry");
            let target = entry.link_name().expect("a name").map(|name| name.display().to_string());
            (entry.path().expect("a path").display().to_string(), target)
        });
        let expected = [("a/b", None), ("a/c", Some("../b"))];
        let expected = expected.map(|(path, target)| (path.to_owned(), target.map(str::to_owned)));
        assert_eq!(entries.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_large_context_is_an_archive() {
        let large = context(&[("a", MAX_INLINE + 1)]);
        let sent = SentContext::new(&large);
        let (id, archive) = sent.uploads.iter().next().expect("an archive");
        assert!(archive.len() > MAX_INLINE);
        let fetch = Op::decode(sent.inputs("")["context"].def[0].as_slice()).expect("an operation");
        let Some(op::Op::Source(source)) = fetch.op else {
            panic!("{fetch:?}");
        };
        assert!(source.identifier.ends_with(id));
    }
}
