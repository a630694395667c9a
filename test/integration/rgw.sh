# Ceph's S3 server on free loopback ports, in memory: sourced by run.sh. start_rgw FOLDER sets rgw_endpoint, and
# rgw_pids to what must be killed. Options: SSE-C without TLS, a key service with one built-in key.
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start_rgw() {
  local folder=$1 fsid mon_port rgw_port osd_uuid
  fsid=$(cat /proc/sys/kernel/random/uuid)
  mon_port=$(free_port)
  rgw_port=$(free_port)
  mkdir -p "$folder"/{mon,osd,mgr,rgw,log}
  touch "$folder/keyring"
  cat > "$folder/ceph.conf" <<CONF
[global]
fsid = $fsid
mon host = v1:127.0.0.1:$mon_port
auth cluster required = none
auth service required = none
auth client required = none
run dir = $folder
log file = $folder/log/\$name.log
admin socket = $folder/\$name.asok
pid file = $folder/\$name.pid
keyring = $folder/keyring
mon data = $folder/mon
osd data = $folder/osd
mgr data = $folder/mgr
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
setuser match path =
osd objectstore = memstore
memstore device bytes = 4294967296
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 2000
[mon]
mon cluster log file = $folder/log/cluster.log
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:$rgw_port
rgw data = $folder/rgw
rgw dynamic resharding = false
rgw gc obj min wait = 2
rgw gc processor period = 2
rgw gc processor max time = 2
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = testkey-1=YmluCmJvb3N0CmJvb3N0LWJ1aWxkCmNlcGguY29uZgo=
CONF
  export CEPH_CONF=$folder/ceph.conf
  rgw_pids=()
  monmaptool --create --clobber --fsid "$fsid" --addv a "v1:127.0.0.1:$mon_port" "$folder/monmap" > /dev/null
  ceph-mon --mkfs -i a --monmap "$folder/monmap" --no-mon-config
  ceph-mon -i a --no-mon-config -f > "$folder/log/mon.out" 2>&1 &
  rgw_pids+=($!)
  wait_for 60 "timeout 10 ceph -s"
  ceph-mgr -i x --no-mon-config -f > "$folder/log/mgr.out" 2>&1 &
  rgw_pids+=($!)
  osd_uuid=$(cat /proc/sys/kernel/random/uuid)
  timeout 30 ceph osd new "$osd_uuid" 0 > /dev/null
  ceph-osd -i 0 --mkfs --no-mon-config --osd-uuid "$osd_uuid" > "$folder/log/mkfs.out" 2>&1
  ceph-osd -i 0 --no-mon-config -f > "$folder/log/osd.out" 2>&1 &
  rgw_pids+=($!)
  wait_for 60 "timeout 10 ceph osd stat | grep -q '1 up'"
  timeout 120 radosgw-admin user create --uid=test --display-name=test --access-key=testing --secret=testing \
    > "$folder/log/user.out" 2>&1
  radosgw -n client.rgw.a --no-mon-config -f > "$folder/log/rgw.out" 2>&1 &
  rgw_pids+=($!)
  rgw_endpoint=http://127.0.0.1:$rgw_port
  wait_for 120 "curl -s -o /dev/null $rgw_endpoint"
}

# wait_for SECONDS COMMAND
wait_for() {
  local deadline=$((SECONDS + $1))
  until eval "$2" > /dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.3
  done
}
