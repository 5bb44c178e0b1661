//! Baseten: base images and custom servers (`baseten`), and images that run without a build (`baseten-no-build`).

use super::dockerfile;
use super::image::{
    command_ports, creatable, debian_base, debian_script, exposed_ports, python_range,
    python_script, user,
};
use super::validate::RESERVED_PORT;
use super::{Kind, Rule, Severity, Subject, Violation};
use crate::matrix::{BASETEN_USER_ID, ContractSettings};

/// The minor versions of Python 3 that Truss builds on.
const PYTHON: (u16, u16) = (9, 14);

/// The name of the user that Baseten creates.
const USER: &str = "app";

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "baseten/debian",
        requirement: "The base is Debian or a derivative: `ID=debian` or `ID_LIKE=debian` in `/etc/os-release`",
        fix: "use a base image of Debian or Ubuntu, or `no_build`",
        source: "Baseten, Custom Docker containers: Base image requirements",
        severity: Severity::Error,
        kind: Kind::Both(
            |subject| debian_base(subject, "Baseten"),
            |_| Some(debian_script("Baseten")),
        ),
    },
    Rule {
        id: "baseten/python",
        requirement: "`python3` on `PATH` is Python 3.9 to 3.14",
        fix: "use a base image with a Python from 3.9 to 3.14, or `no_build`",
        source: "Baseten, Custom Docker containers: Base image requirements",
        severity: Severity::Error,
        kind: Kind::Both(
            |subject| python_range(subject, "Baseten", PYTHON),
            |_| Some(python_script("Baseten", PYTHON)),
        ),
    },
    Rule {
        id: "baseten/reserved-env",
        requirement: "The image sets no variable that Baseten reserves: `PORT`, `HOST`, `HOSTNAME`, `PATH`, `*_SERVICE_HOST`, `*_SERVICE_PORT*`",
        fix: "remove it; the server can read a variable of another name, such as `MY_SERVER_PORT`",
        source: "Baseten, Custom Docker containers: Runtime environment",
        severity: Severity::Error,
        kind: Kind::Static(reserved_variables),
    },
    Rule {
        id: "baseten/injected-env",
        requirement: "The image sets no variable that Baseten injects: `APP_HOME`, `HOME`, `PYTHON_EXECUTABLE`, `BT_MODEL_ID`, `BT_MODEL_DEPLOYMENT_ID`",
        fix: "remove it",
        source: "Baseten, Custom Docker containers: Platform-injected environment variables",
        severity: Severity::Error,
        kind: Kind::Static(injected_variables),
    },
    Rule {
        id: "baseten/port",
        requirement: "The server does not use port 8080: no `EXPOSE`, no command, and nothing that listens on it in a container",
        fix: "choose another port, and set it as `server_port`",
        source: "Baseten, Custom Docker containers: Custom Docker containers",
        severity: Severity::Error,
        kind: Kind::Both(reserved_port, |_| Some(listening_script())),
    },
    Rule {
        id: "baseten/user",
        requirement: "The uid 60000 and the name `app` are free; with `run_as_user_id`, that user exists, and no `USER` selects another",
        fix: "remove the user, or set `run_as_user_id` in `[image.baseten]` to the uid that the image needs",
        source: "Baseten, Custom Docker containers: Non-root user",
        severity: Severity::Error,
        kind: Kind::Both(platform_user, |settings| Some(user_script(settings))),
    },
    Rule {
        id: "baseten/writable-paths",
        requirement: "Baseten can create `/app`, `/home/app`, `/packages`, `/workspace` and `/control/.env`, and every user can write to `/tmp`",
        fix: "remove the file in the way, or correct its permissions",
        source: "Baseten, Custom Docker containers: Writable directories",
        severity: Severity::Error,
        kind: Kind::InImage(|_| Some(paths_script())),
    },
    Rule {
        id: "baseten/inherited-env",
        requirement: "No `UV_*` or `PIP_*` variable of the image affects the server",
        fix: "set it for the build step only, or unset it in `start_command`",
        source: "Baseten, Custom Docker containers: Base image environment variables",
        severity: Severity::Warning,
        kind: Kind::Both(inherited_variables, |_| Some(inherited_script())),
    },
];

pub(super) const NO_BUILD: &[Rule] = &[
    Rule {
        id: "baseten-no-build/command",
        requirement: "The image has an `ENTRYPOINT` or `CMD`, which runs unless `start_command` is set",
        fix: "add one, or set `start_command` in `docker_server`",
        source: "Baseten, Custom Docker containers: No-build deployment",
        severity: Severity::Warning,
        kind: Kind::Static(missing_command),
    },
    Rule {
        id: "baseten-no-build/user",
        requirement: "`run_as_user_id` is the user that the image runs as, and that user exists",
        fix: "set `run_as_user_id` in `[image.baseten]` to its uid",
        source: "Baseten, Custom Docker containers: Constraints",
        severity: Severity::Error,
        kind: Kind::Both(own_user, |settings| settings.run_as_user_id.map(existing_user)),
    },
];

/// Returns a violation for each variable of the image for which `describe` returns its description.
fn variables(
    subject: &Subject<'_>,
    describe: impl Fn(&str) -> Option<&'static str>,
) -> Vec<Violation> {
    let instructions = subject.dockerfile.image().into_iter();
    let environment = instructions.filter(|instruction| instruction.keyword == "ENV");
    let variables = environment.flat_map(dockerfile::variables);
    let violations = variables.filter_map(|variable| {
        let name = &variable.name.text;
        Some(Violation::new(variable.name.at, format!("`ENV {name}` {}", describe(name)?)))
    });
    violations.collect()
}

fn reserved_variables(subject: &Subject<'_>) -> Vec<Violation> {
    variables(subject, |name| {
        let is_reserved = matches!(name, "PORT" | "HOST" | "HOSTNAME" | "PATH")
            || name.ends_with("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT");
        is_reserved.then_some("is reserved: Baseten sets its own value")
    })
}

fn injected_variables(subject: &Subject<'_>) -> Vec<Violation> {
    variables(subject, |name| {
        let names =
            ["APP_HOME", "HOME", "PYTHON_EXECUTABLE", "BT_MODEL_ID", "BT_MODEL_DEPLOYMENT_ID"];
        names.contains(&name).then_some("is injected by Baseten")
    })
}

fn inherited_variables(subject: &Subject<'_>) -> Vec<Violation> {
    variables(subject, |name| {
        let is_setting = name.starts_with("UV_") || name.starts_with("PIP_");
        is_setting.then_some("is visible to the server, and to every `uv` and `pip` that it runs")
    })
}

fn reserved_port(subject: &Subject<'_>) -> Vec<Violation> {
    let exposed = exposed_ports(subject).into_iter().map(|port| (port, "exposes"));
    let commands = command_ports(subject).into_iter().map(|port| (port, "runs a server on"));
    let all = exposed.chain(commands).filter(|((_, ports), _)| ports.contains(&RESERVED_PORT));
    let violations = all.map(|((at, _), verb)| {
        Violation::new(
            at,
            format!("the image {verb} port 8080, which belongs to the reverse proxy of Baseten"),
        )
    });
    violations.collect()
}

fn platform_user(subject: &Subject<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for instruction in subject.dockerfile.image() {
        if instruction.keyword != "RUN" {
            continue;
        }
        for words in subject.dockerfile.commands(instruction) {
            let creates = matches!(words[0].text.rsplit('/').next(), Some("useradd" | "adduser"));
            let is_taken = |text: &str| text == USER || text == "60000" || text.ends_with("=60000");
            if let Some(word) = words.iter().skip(1).find(|word| creates && is_taken(&word.text)) {
                let kind = if word.text == USER { "user" } else { "uid" };
                let name = word.text.rsplit('=').next().unwrap_or_default();
                let what =
                    format!("the image creates the {kind} `{name}`, which Baseten creates itself");
                violations.push(Violation::new(word.at, what));
            }
        }
    }
    let Some(user) = user(subject).filter(|user| !is_root(&user.name)) else { return violations };
    let what = match (subject.settings.run_as_user_id, user.name.parse::<u32>().ok()) {
        (None, _) => {
            format!(
                "`USER {}` has no effect: Baseten runs the image as uid {BASETEN_USER_ID}",
                user.name
            )
        }
        (Some(wanted), Some(uid)) if wanted != uid => {
            format!("`USER {uid}` has no effect: `run_as_user_id` is {wanted}")
        }
        // Only the image knows the uid of a name.
        _ => return violations,
    };
    violations.push(Violation::new(user.at, what));
    violations
}

fn own_user(subject: &Subject<'_>) -> Vec<Violation> {
    let Some(user) = user(subject).filter(|user| !is_root(&user.name)) else { return Vec::new() };
    let what = match (subject.settings.run_as_user_id, user.name.parse::<u32>().ok()) {
        (None, _) => format!("the image runs as `{}`, and `run_as_user_id` is not set", user.name),
        (Some(wanted), Some(uid)) if wanted != uid => {
            format!("the image runs as `{uid}`, but `run_as_user_id` is {wanted}")
        }
        _ => return Vec::new(),
    };
    vec![Violation::new(user.at, what)]
}

fn is_root(user: &str) -> bool {
    matches!(user, "root" | "0")
}

fn missing_command(subject: &Subject<'_>) -> Vec<Violation> {
    let instructions = subject.dockerfile.image();
    let has_command =
        instructions.iter().any(|found| matches!(found.keyword.as_str(), "CMD" | "ENTRYPOINT"));
    match instructions.iter().rfind(|found| found.keyword == "FROM") {
        Some(from) if !has_command => {
            vec![Violation::new(
                from.place(0),
                "the Dockerfile has neither an `ENTRYPOINT` nor a `CMD`",
            )]
        }
        _ => Vec::new(),
    }
}

fn listening_script() -> String {
    // 1F90 is 8080, and 0A the state of a listening socket.
    "for table in /proc/net/tcp /proc/net/tcp6; do [ -r $table ] || continue; \
     while read -r _ address _ state _; do case \"$address $state\" in *:1F90' 0A') \
     echo 'a process listens on port 8080, which belongs to the reverse proxy of Baseten' >&2; exit 1;; esac; \
     done <$table; done"
        .to_owned()
}

fn user_script(settings: &ContractSettings) -> String {
    if let Some(uid) = settings.run_as_user_id {
        return existing_user(uid);
    }
    format!(
        "command -v useradd >/dev/null || [ -x /usr/sbin/useradd ] || \
         {{ echo 'Baseten creates a user with useradd, which the image does not have' >&2; exit 1; }}; \
         while IFS=: read -r name _ uid _; do if [ \"$name\" = {USER} ] || [ \"$uid\" = {BASETEN_USER_ID} ]; then \
         echo \"the image has the user $name with the uid $uid; Baseten creates {USER} with {BASETEN_USER_ID} itself\" >&2; \
         exit 1; fi; done </etc/passwd; \
         while IFS=: read -r name _ gid _; do if [ \"$name\" = {USER} ] || [ \"$gid\" = {BASETEN_USER_ID} ]; then \
         echo \"the image has the group $name with the gid $gid; Baseten creates {USER} itself\" >&2; exit 1; fi; \
         done </etc/group"
    )
}

fn existing_user(uid: u32) -> String {
    format!(
        "while IFS=: read -r _ _ uid _; do [ \"$uid\" = {uid} ] && exit 0; done </etc/passwd; \
         echo 'run_as_user_id is {uid}, but /etc/passwd has no user with this uid' >&2; exit 1"
    )
}

fn paths_script() -> String {
    format!(
        "{}; case \"$(ls -ld /tmp)\" in d???????w*) ;; *) echo 'not every user can write to /tmp' >&2; exit 1;; esac; \
         if [ -e /control/.env ]; then \
         echo '/control/.env exists; Truss creates it for live reload' >&2; exit 1; fi",
        creatable("Baseten", &["/app", "/home/app", "/packages", "/workspace"])
    )
}

fn inherited_script() -> String {
    "env | while IFS= read -r line; do case \"$line\" in UV_*=*|PIP_*=*) \
     echo \"note: ${line%%=*} is set in the image and visible to the server\";; esac; done"
        .to_owned()
}
