use std::sync::Arc;

/// All that one build sends to the engine: a Dockerfile and the files that it copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildContext {
    /// The rendered Dockerfile.
    pub dockerfile: String,
    /// The name under which errors speak of the Dockerfile, such as `server.Dockerfile`.
    pub dockerfile_name: String,
    /// The files, sorted by path. Variants that copy the same file share its bytes.
    pub files: Vec<ContextFile>,
}

/// One file of a [`BuildContext`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextFile {
    /// Relative to the context's root, with `/` between its parts.
    pub path: String,
    /// Whether it may be executed: it is sent with mode 0755, otherwise 0644.
    pub executable: bool,
    /// Its bytes.
    pub content: Arc<[u8]>,
}

/// The name of the Dockerfile within the archive; no template can copy it by accident.
pub const DOCKERFILE: &str = ".basegen/Dockerfile";

impl BuildContext {
    /// The context as an uncompressed tar archive, the Dockerfile at [`DOCKERFILE`].
    ///
    /// The same context gives the same bytes: times are 0, owners are root, and the
    /// order is that of the paths.
    #[must_use]
    pub fn to_tar(&self) -> Vec<u8> {
        let size = self.files.iter().map(|file| file.content.len() + 1024).sum::<usize>();
        let mut archive =
            tar::Builder::new(Vec::with_capacity(size + self.dockerfile.len() + 4096));
        append(&mut archive, DOCKERFILE, 0o644, self.dockerfile.as_bytes());
        for file in &self.files {
            append(
                &mut archive,
                &file.path,
                if file.executable { 0o755 } else { 0o644 },
                &file.content,
            );
        }
        archive.into_inner().expect("writing to memory does not fail")
    }
}

fn append(archive: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    archive.append_data(&mut header, path, content).expect("writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_holds_the_dockerfile_and_each_file_once() {
        let context = BuildContext {
            dockerfile: "FROM scratch\n".to_owned(),
            dockerfile_name: "server.Dockerfile".to_owned(),
            files: vec![ContextFile {
                path: format!("deep/{}/run.sh", "x".repeat(150)),
                executable: true,
                content: Arc::from(*b"#!/bin/sh\n"),
            }],
        };
        let bytes = context.to_tar();
        assert_eq!(bytes, context.to_tar());
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries: Vec<(String, u32)> = archive
            .entries()
            .expect("an archive")
            .map(|entry| {
                let entry = entry.expect("an entry");
                let path = entry.path().expect("a path").to_string_lossy().into_owned();
                (path, entry.header().mode().expect("a mode"))
            })
            .collect();
        assert_eq!(entries[0], (DOCKERFILE.to_owned(), 0o644));
        assert_eq!(entries[1], (context.files[0].path.clone(), 0o755));
        assert_eq!(entries.len(), 2);
    }
}
