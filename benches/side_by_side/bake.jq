# A plan (`basegen plan --format json`) as a file for `docker buildx bake`.
# $contexts: where `basegen render -o` wrote; $output: of every target; $secrets: of every target, a list.
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
