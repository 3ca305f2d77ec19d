#!/usr/bin/env bash
# Spreads the work of network cards over the processors: interrupts (IRQ affinity), received packets (RPS, RFS) and sent
# ones (XPS). Prints the settings that differ, and changes nothing without --apply.
#
#   tuning/irq.sh                  print the settings that should change; exit code 1 if there are any
#   tuning/irq.sh --apply          change them, and keep the old values in the record
#   tuning/irq.sh --undo           restore the values of the record
#   tuning/irq.sh --cores 8 eth0   for the first 8 processors and this card alone
#
# The rules: interrupt of queue i to processor i. Where a card has fewer queues than there are processors, the kernel
# spreads the packets of each queue over its share of them (RPS), to the one whose thread reads the connection (RFS).
# Sending queue i is for processor i (XPS).
set -euo pipefail

usage() {
  cat >&2 <<USAGE
usage: $0 [--apply | --undo] [--cores COUNT] [--flows COUNT] [--record FILE] [--root DIRECTORY] [INTERFACE...]
  --cores   processors to use, from the first on; default: all that are online
  --flows   connections whose reading processor is remembered (RFS), a power of two; default: 32768
  --record  where --apply keeps what it found; default: /var/lib/ringsock/irq-before.conf
  --root    where /proc and /sys are, for tests; default: /
USAGE
  exit 2
}

root=/ record=/var/lib/ringsock/irq-before.conf mode=show cores=0 flows=32768
interfaces=()
while (($#)); do
  case $1 in
    --apply | --undo)
      [[ $mode == show ]] || usage
      mode=${1#--}
      ;;
    --cores | --flows | --record | --root)
      (($# >= 2)) || usage
      case $1 in
        --cores) cores=$2 ;;
        --flows) flows=$2 ;;
        --record) record=$2 ;;
        --root) root=$2 ;;
      esac
      shift
      ;;
    -*) usage ;;
    *) interfaces+=("$1") ;;
  esac
  shift
done
[[ $cores =~ ^[0-9]{1,5}$ && $flows =~ ^[1-9][0-9]{0,8}$ ]] || usage
(((flows & (flows - 1)) == 0)) || usage
root=${root%/}

# Numbers of a list such as 0-3,8, one a line.
expand() {
  local range
  for range in ${1//,/ }; do
    seq "${range%-*}" "${range#*-}"
  done
}

# The mask of the given processors, in groups of 32 as the kernel writes them, without leading zeros.
mask() {
  local -A words=()
  local processor highest=0 index text
  for processor; do
    index=$((processor / 32))
    words[$index]=$((${words[$index]:-0} | 1 << (processor % 32)))
    ((index <= highest)) || highest=$index
  done
  printf -v text '%x' "${words[$highest]:-0}"
  for ((index = highest - 1; index >= 0; index--)); do
    printf -v text '%s,%08x' "$text" "${words[$index]:-0}"
  done
  printf '%s' "$text"
}

# A value in a form that can be compared: masks of any width become equal.
normal() {
  local value=${1//,/}
  value=${value#"${value%%[!0]*}"}
  printf '%s' "${value:-0}"
}

# The settings that differ, in the order in which they are written.
paths=() values=()
want() {
  local path=$1 value=$2 kind=${3:-mask} current
  [[ -r $root$path ]] || return 0
  current=$(<"$root$path")
  if [[ $kind == mask ]]; then
    [[ $(normal "$current") != "$(normal "$value")" ]] || return 0
  else
    [[ $current != "$value" ]] || return 0
  fi
  paths+=("$path") values+=("$value")
  printf '  %s  %s → %s\n' "$path" "$current" "$value"
}

# Interrupts of an interface and the queue of each, as "number queue". Others (configuration, errors) have no queue.
interrupts() {
  local device=$root/sys/class/net/$1/device directory irq name
  for directory in "$device/msi_irqs" "$device/../msi_irqs"; do
    [[ -d $directory ]] || continue
    for irq in "$directory"/*; do
      irq=${irq##*/}
      name=$(awk -v line="$irq:" '$1 == line { print $NF }' "$root/proc/interrupts" 2>/dev/null) || true
      name=${name%%@*}
      [[ $name =~ (config|async|cmd|ctrl|mgmt|admin|pages) ]] && continue
      [[ $name =~ ([0-9]+)$ ]] || continue
      printf '%s %s\n' "$irq" "$((10#${BASH_REMATCH[1]}))"
    done
    return 0
  done
}

queues() {
  find "$root/sys/class/net/$1/queues" -mindepth 1 -maxdepth 1 -name "$2-*" 2>/dev/null | wc -l
}

# The processors of one of COUNT queues: every COUNTth.
share() {
  local queue=$1 count=$2 at
  for ((at = queue % count; at < ${#processors[@]}; at += count)); do
    printf '%s ' "${processors[at]}"
  done
}

plan() {
  local interface=$1 irq queue rx tx
  rx=$(queues "$interface" rx) tx=$(queues "$interface" tx)
  printf '%s: %s receiving and %s sending queues for %s processors\n' "$interface" "$rx" "$tx" "${#processors[@]}"
  ((rx > 1)) || printf '  It has one queue, so there are no interrupts to spread; received packets can be spread.\n'
  while read -r irq queue; do
    want "/proc/irq/$irq/smp_affinity_list" "${processors[queue % ${#processors[@]}]}" list
  done < <(((rx <= 1)) || interrupts "$interface")
  for ((queue = 0; queue < rx; queue++)); do
    local path=/sys/class/net/$interface/queues/rx-$queue
    if ((rx < ${#processors[@]})); then
      # shellcheck disable=SC2046
      want "$path/rps_cpus" "$(mask $(share "$queue" "$rx"))"
      want "$path/rps_flow_cnt" $((flows / rx)) list
    else
      want "$path/rps_cpus" 0
    fi
  done
  ((rx >= ${#processors[@]})) || want /proc/sys/net/core/rps_sock_flow_entries "$flows" list
  # With one queue there is no choice, and the kernel refuses the write.
  for ((queue = 0; tx > 1 && queue < tx; queue++)); do
    # shellcheck disable=SC2046
    want "/sys/class/net/$interface/queues/tx-$queue/xps_cpus" "$(mask $(share "$queue" "$tx"))"
  done
}

write() {
  printf '%s\n' "$2" 2>/dev/null >"$root$1"
}

# Records all old values, then writes the new ones. Values that an earlier run recorded stay in the record.
apply() {
  local index path failed=0
  mkdir -p "$(dirname "$record")"
  { [[ ! -e $record ]] || cat "$record"; } >"$record.new"
  for path in "${paths[@]}"; do
    awk -v path="$path" '$1 == path { found = 1 } END { exit !found }' "$record.new" ||
      printf '%s %s\n' "$path" "$(<"$root$path")" >>"$record.new"
  done
  sync "$record.new"
  mv "$record.new" "$record"
  for index in "${!paths[@]}"; do
    if ! { write "${paths[index]}" "${values[index]}"; } 2>/dev/null; then
      printf 'NOT written: %s\n' "${paths[index]}" >&2
      failed=$((failed + 1))
    fi
  done
  printf '%s of %s written; the old values are recorded in %s.\n' $((${#paths[@]} - failed)) "${#paths[@]}" "$record"
  ((failed == 0))
}

undo() {
  local path value kept=
  if [[ ! -r $record ]]; then
    printf 'There is nothing to undo: %s does not exist.\n' "$record" >&2
    exit 2
  fi
  while read -r path value; do
    if [[ $path =~ ^/(proc/irq|proc/sys/net|sys/class/net)/ && $path != *..* ]] && { write "$path" "$value"; } 2>/dev/null; then
      printf '  %s  %s\n' "$path" "$value"
    else
      printf 'NOT restored: %s\n' "$path" >&2
      kept=$path$'\x20'$value$'\n'$kept
    fi
  done < <(tac "$record")
  if [[ -n $kept ]]; then
    printf '%s' "$kept" >"$record"
    exit 2
  fi
  rm -f "$record"
}

if [[ $mode == undo ]]; then
  undo
  exit 0
fi

mapfile -t processors < <(expand "$(<"$root/sys/devices/system/cpu/online")")
((cores == 0 || cores >= ${#processors[@]})) || processors=("${processors[@]:0:cores}")
if ((${#interfaces[@]} == 0)); then
  for device in "$root"/sys/class/net/*/device; do
    [[ -e $device ]] || continue
    device=${device%/device}
    interfaces+=("${device##*/}")
  done
fi
if ((${#interfaces[@]} == 0)); then
  echo 'There is no network card here (a container sees none), so there is nothing to do.'
  exit 0
fi
if grep -qsx irqbalance "$root"/proc/[0-9]*/comm; then
  echo 'irqbalance is running, and will move interrupts again: systemctl disable --now irqbalance'
fi
for interface in "${interfaces[@]}"; do
  if [[ ! -d $root/sys/class/net/$interface/queues ]]; then
    printf 'There is no interface %s.\n' "$interface" >&2
    exit 2
  fi
  plan "$interface"
done
if ((${#paths[@]} == 0)); then
  echo 'No setting needs to change.'
elif [[ $mode == apply ]]; then
  apply
else
  printf '%s differ. --apply changes them.\n' "${#paths[@]}"
  exit 1
fi
