use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A registry that knows which digest each tag has, and nothing else.
pub(crate) struct Registry {
    host: String,
    tags: Tags,
}

/// Digests by `repository:tag`.
type Tags = Arc<Mutex<HashMap<String, String>>>;

impl Registry {
    /// Starts one on this machine; it ends with the process.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let host = listener.local_addr().expect("an address").to_string();
        let tags = Tags::default();
        let known = Arc::clone(&tags);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(&stream, &known);
            }
        });
        Self { host, tags }
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Points `image`, such as `base:1`, at a digest of this digit over and over.
    pub(crate) fn tag(&self, image: &str, digit: char) {
        let digest = format!("sha256:{}", digit.to_string().repeat(64));
        self.tags.lock().expect("no test panics here").insert(image.to_owned(), digest);
    }
}

/// Answers one request and closes the connection.
fn answer(mut stream: &TcpStream, tags: &Tags) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    for _ in lines.by_ref().take_while(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or_default();
    let image = path.trim_start_matches("/v2/").replacen("/manifests/", ":", 1);
    let known = tags.lock().expect("no test panics here").get(&image).cloned();
    let answer = match known {
        Some(digest) => format!(
            "200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\n\
             Content-Length: 1000\r\nDocker-Content-Digest: {digest}"
        ),
        None => "404 Not Found\r\nContent-Length: 0".to_owned(),
    };
    // A client that went away wants no answer.
    let _ = write!(stream, "HTTP/1.1 {answer}\r\nConnection: close\r\n\r\n");
}
