# system_role:zookeeper
# Whether this host may get the configuration $0 in place of $1; $2 is the port for clients.
#
# When members change, a majority of the new ones may be without any of a majority of the old ones.
# If it elects a leader while those serve, there are two; or one without their data, whom they then
# follow. A member that serves takes no part in that: it restarts once the new ones follow its leader.
members() {
  grep '^server\.' "$1" | sort
}
mode() {
  timeout 5 bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf srvr >&3 && grep ^Mode: <&3' "$1" "$2" 2>/dev/null
}
refuse() {
  echo "$1" >&2
  exit 1
}

[ -e "$1" ] && [ "$(members "$1")" != "$(members "$0")" ] || exit 0
case "$(mode 127.0.0.1 "$2")" in
  *standalone*)
    refuse "this member serves alone, and new ones would elect a leader without its data;
wanted another ensemble, or this member stopped and its data given up" ;;
  *Mode:*)
    exit 0 ;;
esac
for address in $(members "$1" | sed -E 's/^[^=]*=//; s/:[0-9]+:[0-9]+.*//; s/[][]//g'); do
  [ -z "$(mode "$address" "$2")" ] || refuse "members are to change while $address serves and this one does not;
wanted this one to serve, too, before they do. See: journalctl --unit zookeeper"
done
