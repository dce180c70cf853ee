"""What a radiograph shows of the chest: thorax, lungs, margins, markers."""
