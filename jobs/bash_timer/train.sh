began=$(date +%s%N)
bytes=$(seq 500000 | gzip -"$1" | wc -c)
nanoseconds=$(($(date +%s%N) - began))
echo "{\"span\": \"compress\", \"seconds\": ${nanoseconds}e-9}" >>"$FACEOFF_EVENTS"
echo "{\"metric\": \"compressed_bytes\", \"value\": $bytes}" >>"$FACEOFF_EVENTS"
