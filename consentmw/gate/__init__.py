"""What a response may carry: its HTML, its cookies, its headers."""
