"""A fictional gas and electric utility in Iowa and Wisconsin: what a user of consentmw would write.

The site knows pages, customers and the vendors' snippets that a web team pasted into its
templates. It knows nothing of consent: that is what consentmw is for, and what this site shows.
"""
