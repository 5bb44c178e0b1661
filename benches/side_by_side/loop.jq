# Turns a plan (`basegen plan --format json`) into a shell script with one `docker buildx build` after the other.
# $contexts, $output and $secrets as in bake.jq; $docker: the command.
.targets[] | [
  $docker, "buildx", "build",
  "--platform", (.platforms | join(",")),
  (.labels | to_entries[] | "--label", "\(.key)=\(.value)"),
  "--tag", .reference,
  "--output", $output,
  ($secrets[] | "--secret", .),
  "\($contexts)/\(.id)"
] | @sh
