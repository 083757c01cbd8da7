# Keeps a server for a test process, which holds the other end of our stdin.
#
#   $1  the server's folder, removed at the end: `start` runs it, `log` is its output
#   $2  the signal that ends it in good order
#
# For each line on stdin it starts the server and answers with its process id.
# At the end of stdin it ends the server. Only built-ins until then: waiting for
# another command would reap the server and free its process id.
folder=$1 end=$2 server=
cd "$folder" || exit

while read -r _; do
  sh ./start </dev/null >>log 2>&1 &
  server=$!
  echo "$server"
done

# The server and its children, which may be frozen.
family() {
  echo "$server"
  for stat in /proc/[0-9]*/stat; do
    read -r line <"$stat" || continue
    process=${stat#/proc/}
    set -- ${line##*) }
    if [ "$2" = "$server" ]; then echo "${process%/stat}"; fi
  done
}

runs() {
  read -r line <"/proc/$server/stat" || return
  case ${line##*) } in Z* | X*) return 1 ;; esac
}

if [ -n "$server" ]; then
  {
    kill -CONT $(family)
    kill "-$end" "$server"
    tries=0
    while runs && [ "$tries" -lt 100 ]; do
      sleep 0.05
      tries=$((tries + 1))
    done
    if runs; then
      kill -STOP "$server"
      kill -KILL $(family)
      wait "$server"
    fi
  } 2>/dev/null
fi
cd /
rm -rf "$folder"
