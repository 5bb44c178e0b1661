//! A conda channel, and a substitute for micromamba that installs from it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;

use basegen::image::Digest;

use super::pypi;

/// The solver and installer of the substitute for micromamba.
const RATTLER: &str = "py-rattler==0.28.0";

/// Packs a script and the rattler package into an executable zip archive.
const PACK: &str = "import pathlib, sys, sysconfig, zipfile
main, target = map(pathlib.Path, sys.argv[1:])
packages = pathlib.Path(sysconfig.get_path('purelib'))
with open(target, 'wb') as stream:
    stream.write(b'#!/usr/bin/env python3\\n')
    with zipfile.ZipFile(stream, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.write(main, '__main__.py')
        for path in sorted((packages / 'rattler').rglob('*')):
            if path.suffix != '.pyc':
                archive.write(path, path.relative_to(packages))
print('null')";

/// Writes a channel with the package `name`, a program that prints its name and version.
pub(crate) fn channel(folder: &Path, name: &str, version: &str) {
    let arguments = [folder.to_string_lossy().into_owned(), name.to_owned(), version.to_owned()];
    let script = include_str!("conda/channel.py");
    pypi::run(&pypi::environment(&[RATTLER]), Path::new("/"), script, &arguments);
}

/// Returns the substitute for micromamba: an executable that requires Python.
pub(crate) fn micromamba(folder: &Path) -> Vec<u8> {
    let (main, target) = (folder.join("main.py"), folder.join("micromamba"));
    fs_err::write(&main, include_str!("conda/micromamba.py")).expect("a file");
    let arguments = [&main, &target].map(|path| path.to_string_lossy().into_owned());
    pypi::run(&pypi::environment(&[RATTLER]), folder, PACK, &arguments);
    fs_err::read(target).expect("a program")
}

/// Serves `content` on the loopback interface until the process exits. Returns its URL and SHA-256.
pub(crate) fn serve(content: Vec<u8>) -> (String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/micromamba", listener.local_addr().expect("an address"));
    let sum = Digest::of(&content).hex();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
            let length = content.len();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            let body = if first.starts_with("HEAD") { &[][..] } else { &content };
            // The client may close the connection early.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    (url, sum)
}
