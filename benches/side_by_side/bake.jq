# Turns a plan (`basegen plan --format json`) into a file for `docker buildx bake`.
# $contexts: the output folder of `basegen render -o`; $output and $secrets: for every target.
def name: gsub("[^A-Za-z0-9_-]"; "_");
{
  group: {default: {targets: [.targets[].id | name]}},
  target: [
    .targets[] | {
      key: (.id | name),
      value: {
        context: "\($contexts)/\(.id)",
        platforms,
        labels,
        tags: [.reference],
        output: [$output],
        secret: $secrets
      }
    }
  ] | from_entries
}
