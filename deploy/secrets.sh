#!/bin/sh
# Makes the secrets of docker-compose.yml, each in a file of its own, in deploy/secrets
# or the folder given. It changes none that is there, but for redis_users, which follows
# from redis_password and redis/users.acl.
#
# The folder is for its owner alone. The files in it may be read by everybody, since
# each container reads those that it is given as a user of its own.
set -eu
folder="${1:-$(dirname "$0")/secrets}"
mkdir -p "$folder"
chmod 700 "$folder"

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

# put NAME: what comes. A reader sees all of it, or what was there.
put() {
  cat >"$folder/$1.new"
  chmod 444 "$folder/$1.new"
  mv "$folder/$1.new" "$folder/$1"
}

# keep NAME: what comes, unless there is such a file.
keep() { if [ ! -s "$folder/$1" ]; then put "$1"; fi; }

for name in jwt_secret session_secret internal_token redis_password postgres_password; do
  random | keep "$name"
done
redis=$(cat "$folder/redis_password")
postgres=$(cat "$folder/postgres_password")
keep redis_url <<END
redis://mingle:$redis@redis:6379
END
keep database_url <<END
postgres://mingle:$postgres@postgres:5432/mingle
END
# Nobody without a password; Mingle's user does what Mingle does, on its own keys.
users=$(sed "s/ resetpass / >$redis /" "$(dirname "$0")/redis/users.acl")
put redis_users <<END
$users
END
